/** Bounded concurrency: nothing here ever holds more than it was told to. */
import { assert, RemoteError, throwIfAborted, toPrimaError } from './errors.ts';

/** Lets at most `limit` holders in at a time; the others wait in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    assert(Number.isInteger(limit) && limit > 0, `semaphore limit ${limit} is positive`);
    this.#free = limit;
  }

  /** Resolves with the function that gives the place back; call it exactly once. */
  async acquire(): Promise<() => void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let released = false;
    return () => {
      assert(!released, 'a semaphore place is released once');
      released = true;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    };
  }

  /** Runs `task` while holding a place. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    const release = await this.acquire();
    try {
      return await task();
    } finally {
      release();
    }
  }
}

/** One at a time, in order of arrival. */
export class Mutex extends Semaphore {
  constructor() {
    super(1);
  }
}

/**
 * Runs `task` over `items`, at most `limit` at a time, and waits for all that were started.
 * The first failure stops new ones from starting and is raised after the running ones have ended;
 * the signal given to each task is aborted then.
 */
export async function forEachBounded<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  task: (item: T, signal: AbortSignal) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const own = new AbortController();
  const inner = signal ? AbortSignal.any([signal, own.signal]) : own.signal;
  const failures: unknown[] = [];
  const running = new Set<Promise<void>>();
  const failed = () => failures.length > 0;
  try {
    for await (const item of items) {
      if (failed() || inner.aborted) break;
      const job: Promise<void> = task(item, inner)
        .catch((error: unknown) => {
          failures.push(error);
          own.abort(error);
        })
        .finally(() => running.delete(job));
      running.add(job);
      if (running.size >= limit) await Promise.race(running);
    }
  } catch (error) {
    failures.push(error);
    own.abort(error);
  }
  await Promise.all(running);
  if (failed()) throw failures[0];
  throwIfAborted(signal, 'working');
}

/** Waits for all, also when one has failed (the caller's memory is in use until then), then raises the first failure. */
export async function settled<T>(calls: readonly Promise<T>[]): Promise<T[]> {
  if (calls.length === 1) return Promise.all(calls);
  const results = await Promise.allSettled(calls);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/**
 * Runs `task` over `items`, at most `limit` at a time, and gives the results in the order of the items. A failure is raised
 * in its turn; who stops early or is failed waits for what was started.
 */
export async function* inOrder<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  task: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const running: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const job = task(item);
      job.catch(() => undefined); // raised when its turn comes
      running.push(job);
      if (running.length >= limit) yield* next(running);
    }
    while (running.length > 0) yield* next(running);
  } finally {
    await Promise.allSettled(running);
  }
}

async function* next<R>(running: Promise<R>[]): AsyncGenerator<R> {
  const first = running.shift();
  if (first) yield await first;
}

/**
 * Raises `timeout` when `task` has not ended after `timeoutMs`; the signal it gets is aborted then.
 * @param doing what was being done, to whom: "asking the guest agent of web01"
 */
export async function withDeadline<T>(
  timeoutMs: number,
  doing: string,
  task: (signal: AbortSignal) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  throwIfAborted(signal, doing);
  const deadline = new AbortController();
  const inner = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal;
  const expired = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new RemoteError(`${doing}: no answer within ${timeoutMs / 1000} s`, {
      code: 'timeout',
      retryable: true,
    });
    deadline.abort(error);
    expired.reject(error);
  }, timeoutMs);
  const onAbort = () => expired.reject(toPrimaError(signal?.reason, doing));
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([task(inner), expired.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}
