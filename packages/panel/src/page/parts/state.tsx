/** A word about how something stands; its colour and shape say the same once more. */
import type { JobState, Protection } from '@prima/api/http';

type Tone = 'good' | 'warn' | 'bad' | 'still' | 'accent';

const tones: Record<JobState | Protection, Tone> = {
  protected: 'good',
  late: 'warn',
  failed: 'bad',
  unprotected: 'still',
  queued: 'still',
  running: 'accent',
  succeeded: 'good',
  cancelled: 'still',
};

export function State({ is }: { is: JobState | Protection }) {
  return <span className={`state tone-${tones[is]}`}>{is}</span>;
}
