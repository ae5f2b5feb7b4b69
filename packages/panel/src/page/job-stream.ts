/** What a job tells, live. The browser takes a broken stream up again where it ended (Last-Event-ID). */
import type { JobEventEntry, JobState } from '@prima/api/http';
import { useEffect, useState } from 'react';
import { changed } from './client.ts';

type Told = JobEventEntry['event'] & Pick<JobEventEntry, 'time'>;
type Logged = Extract<Told, { type: 'log' }> & { id: string };
type Progress = Extract<Told, { type: 'progress' }> & { rate?: number | undefined };

export interface JobStream {
  log: Logged[];
  progress?: Progress | undefined;
  state?: JobState | undefined;
  isCut: boolean;
}

/** Lines that are kept; of a longer log the end. */
const keptLines = 5000;
const ends = new Set<JobState>(['succeeded', 'failed', 'cancelled']);

export function useJobStream(id: string): JobStream {
  const [told, setTold] = useState<JobStream>({ log: [], isCut: false });
  useEffect(() => {
    setTold({ log: [], isCut: false });
    const source = new EventSource(`/api/v1/jobs/${encodeURIComponent(id)}/events`);
    let before: { read: number; at: number } | undefined;
    const on = (type: Told['type'], take: (event: Told, number: string) => void) =>
      source.addEventListener(type, ({ data, lastEventId }: MessageEvent<string>) =>
        take(JSON.parse(data) as Told, lastEventId),
      );
    on('log', (event, number) => {
      if (event.type !== 'log') return;
      const line = { ...event, id: number };
      setTold((old) => ({ ...old, isCut: false, log: [...old.log, line].slice(-keptLines) }));
    });
    on('progress', (event) => {
      if (event.type !== 'progress') return;
      const now = { read: event.read ?? event.done, at: performance.now() };
      const rate =
        before && now.at - before.at > 200
          ? ((now.read - before.read) / (now.at - before.at)) * 1000
          : undefined;
      if (!before || rate !== undefined) before = now;
      setTold((old) => ({ ...old, isCut: false, progress: { ...event, rate: rate ?? old.progress?.rate } }));
    });
    on('state', (event) => {
      if (event.type !== 'state') return;
      setTold((old) => ({ ...old, isCut: false, state: event.state }));
      if (ends.has(event.state)) source.close();
      void changed(
        'getJob',
        'listJobs',
        'listPoints',
        'getMachine',
        'listMachines',
        'getOverview',
        'listRepositories',
      );
    });
    source.onerror = () => setTold((old) => ({ ...old, isCut: true }));
    return () => source.close();
  }, [id]);
  return told;
}
