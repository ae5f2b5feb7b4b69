/** A deadline that begins anew with every sign of life, by a clock that tests own. */
import { type Clock, RemoteError, throwIfAborted, toPrimaError } from '@prima/base';

export interface IdleLimit {
  /** What is done, to what: "reading config in s3://bucket". */
  doing: string;
  /** Milliseconds without a sign of life. */
  limitMs: number;
  clock: Clock;
  signal?: AbortSignal;
}

export interface Watch {
  /** Aborted when the limit is passed or the caller aborts. */
  signal: AbortSignal;
  /** Runs what must not count, such as waiting for one's turn; its end is a sign of life. */
  pause(wait: () => Promise<void>): Promise<void>;
}

/** Runs `task`; raises `timeout` (retryable) when it neither ends nor pauses for `limitMs`. */
export async function withIdleLimit<T>(limit: IdleLimit, task: (watch: Watch) => Promise<T>): Promise<T> {
  const { doing, limitMs, clock, signal } = limit;
  throwIfAborted(signal, doing);
  const expiry = new AbortController();
  const ended = new AbortController();
  let alive = clock.monotonic();
  let pauses = 0;
  const watch: Watch = {
    signal: signal ? AbortSignal.any([signal, expiry.signal]) : expiry.signal,
    pause: async (wait) => {
      pauses += 1;
      try {
        await wait();
      } finally {
        pauses -= 1;
        alive = clock.monotonic();
      }
    },
  };
  const expire = async (): Promise<never> => {
    for (;;) {
      const leftMs = pauses > 0 ? limitMs : alive + limitMs - clock.monotonic();
      if (leftMs <= 0) break;
      await clock.sleep(leftMs, ended.signal);
    }
    const text = `${doing}: no answer within ${Math.round(limitMs / 1000)} s`;
    const error = new RemoteError(text, { code: 'timeout', retryable: true });
    expiry.abort(error);
    throw error;
  };
  const cancelled = Promise.withResolvers<never>();
  const onAbort = () => cancelled.reject(toPrimaError(signal?.reason, doing));
  signal?.addEventListener('abort', onAbort, { once: true });
  const expired = expire();
  expired.catch(() => undefined); // ends this way, too, when the task has ended
  try {
    return await Promise.race([task(watch), expired, cancelled.promise]);
  } finally {
    ended.abort();
    signal?.removeEventListener('abort', onAbort);
  }
}
