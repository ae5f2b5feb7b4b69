/** Waits for what another process or machine does. */
import { RemoteError, systemClock, withDeadline } from '@prima/base';

export interface WaitOptions {
  /** Default 30 s. */
  timeoutMs?: number;
  /** What is waited for, for the message: "the export's socket to appear". */
  what: string;
  /** Between two looks. Default 50 ms. */
  intervalMs?: number;
}

/**
 * Asks `predicate` until it gives something true, and returns that. Raises `timeout` naming what was waited
 * for; what the predicate raises goes through.
 */
export async function waitUntil<T>(
  predicate: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<T, false | undefined | null>> {
  const { timeoutMs = 30_000, what, intervalMs = 50 } = options;
  return withDeadline(timeoutMs, `waiting for ${what}`, async (signal) => {
    for (;;) {
      const found = await predicate();
      if (found) return found as Exclude<T, false | undefined | null>;
      if (signal.aborted) throw new RemoteError(`gave up waiting for ${what}`, { code: 'timeout' });
      await systemClock.sleep(intervalMs, signal);
    }
  });
}
