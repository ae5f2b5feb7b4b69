/** The threads that chunk pools work on, and those that are started before anybody needs them. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';

/** How many threads a pool has where nobody says: as many as the machine runs side by side, 8 at most. */
export function usualThreads(): number {
  return Math.min(8, availableParallelism());
}

/** Threads that wait for a pool: starting one takes as long as opening a repository leaves a processor idle. */
export class ThreadReserve {
  readonly #waiting = new Set<Worker>();

  /** @param count threads to start at once */
  constructor(count = 0) {
    for (let i = 0; i < count; i += 1) this.#keep(startThread());
  }

  /** A thread that has no other owner: it waits for its `setup`. */
  take(): Worker {
    const [worker] = this.#waiting;
    if (!worker) return startThread();
    this.#waiting.delete(worker);
    worker.removeAllListeners();
    return worker;
  }

  /** Ends what was not taken. */
  async close(): Promise<void> {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    await Promise.all(waiting.map((worker) => worker.terminate()));
  }

  #keep(worker: Worker): void {
    this.#waiting.add(worker);
    // the pool starts another one then, and tells what is wrong with it
    worker.on('error', () => this.#waiting.delete(worker));
    worker.on('exit', () => this.#waiting.delete(worker));
  }
}

/** An idle thread does not keep the process alive. */
function startThread(): Worker {
  const worker = new Worker(new URL('./chunk-worker.ts', import.meta.url));
  worker.unref();
  return worker;
}
