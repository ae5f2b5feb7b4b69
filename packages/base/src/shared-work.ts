/** Work that several wait for, each with a signal of its own. */
import { PrimaError, throwIfAborted, toPrimaError } from './errors.ts';

/** What `shared` gives. Who is cancelled stops waiting at once; what is shared goes on for the others. */
export async function unlessAborted<T>(
  shared: Promise<T>,
  doing: string,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (!signal) return await shared;
  throwIfAborted(signal, doing);
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(toPrimaError(signal.reason, doing));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([shared, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Begun at once, and cancelled when all who waited for it have been cancelled. */
export class SharedWork<T> {
  /** Resolves when the task has ended, in whatever way. */
  readonly settled: Promise<void>;
  readonly #result: Promise<T>;
  readonly #stop = new AbortController();
  #waiting = 0;
  #isOver = false;

  constructor(task: (signal: AbortSignal) => Promise<T>) {
    const over = () => {
      this.#isOver = true;
    };
    this.#result = task(this.#stop.signal);
    this.settled = this.#result.then(over, over); // what it raises it raises to who waits
  }

  /** Nobody waits for it any more: who wants the same begins anew. */
  get isAbandoned(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Its result. Raises what the task raises, and `cancelled` as soon as `signal` is aborted. */
  async wait(doing: string, signal?: AbortSignal): Promise<T> {
    this.#waiting += 1;
    try {
      return await unlessAborted(this.#result, doing, signal);
    } finally {
      this.#waiting -= 1;
      if (signal?.aborted && this.#waiting === 0 && !this.#isOver)
        this.#stop.abort(new PrimaError('cancelled', `${doing}: nobody waits for it any more`));
    }
  }
}
