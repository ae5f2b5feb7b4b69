/** How long the client waits for what, and how it tries again. Milliseconds. */
import type { Clock, Random } from '@prima/base';

export interface Timing {
  /** For the answer of a quick operation. */
  quickMs: number;
  /** For any other answer, and for the beginning of a stream. */
  answerMs: number;
  /** Without a byte of a stream; servers send a comment every 15 s. */
  idleMs: number;
  /** Without any sign of a job, on however many streams. */
  silentMs: number;
  /** Before the second try; doubled for each further one. */
  firstDelayMs: number;
  /** Between tries, at most. */
  delayAtMostMs: number;
  /** Tries of one request. */
  tries: number;
}

export const defaultTiming: Timing = {
  quickMs: 240_000,
  answerMs: 30_000,
  idleMs: 60_000,
  silentMs: 300_000,
  firstDelayMs: 250,
  delayAtMostMs: 30_000,
  tries: 6,
};

export interface Pause {
  clock: Clock;
  random: Random;
  timing: Timing;
}

/** Waits before try `tried` + 1: half of the delay, and a random part of the other half. */
export async function pause(
  { clock, random, timing }: Pause,
  tried: number,
  { signal, atLeastMs = 0 }: { signal?: AbortSignal; atLeastMs?: number },
): Promise<void> {
  const full = Math.min(timing.firstDelayMs * 2 ** (tried - 1), timing.delayAtMostMs);
  const delay = full / 2 + random.below(Math.ceil(full / 2) + 1);
  await clock.sleep(Math.max(delay, Math.min(atLeastMs, timing.delayAtMostMs)), signal);
}
