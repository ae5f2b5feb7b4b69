/** For tests: a clock that stands until all that can happen has happened, and then goes to the next sleeper. */
import type { Clock } from '@prima/base';

interface Sleeper {
  at: number;
  wake: () => void;
}

export class VirtualClock implements Clock {
  time = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return Date.UTC(2026, 0, 1) + this.time;
  }

  monotonic(): number {
    return this.time;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = () => reject(signal?.reason as Error);
      if (signal?.aborted) return fail();
      const sleeper: Sleeper = { at: this.time + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        fail();
      });
      return undefined;
    });
  }

  /** Lets time pass until `work` has ended. */
  async run<T>(work: Promise<T>): Promise<T> {
    const state = { isOver: false };
    const over = () => {
      state.isOver = true;
    };
    work.then(over, over);
    for (;;) {
      for (let turn = 0; turn < 20 && !state.isOver; turn += 1) await new Promise((go) => setImmediate(go));
      if (state.isOver) return await work;
      this.#wakeNext();
    }
  }

  #wakeNext(): void {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) if (!next || sleeper.at < next.at) next = sleeper;
    if (!next) return;
    this.#sleepers.delete(next);
    this.time = Math.max(this.time, next.at);
    next.wake();
  }
}
