/** Lets a resource be released only after the operations that use it have ended. */
import { assert } from '@prima/base';

/** Counts operations under way; `close` waits for them, and none can start afterwards. */
export class InFlight {
  readonly #name: string;
  #count = 0;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  /** @param name of the resource, for the message when it is used after it was closed */
  constructor(name: string) {
    this.#name = name;
  }

  /** Runs `task`. Raises `internal` after `close`: a mistake of the caller. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    assert(this.#closing === undefined, `${this.#name} is used while it is open`);
    this.#count += 1;
    try {
      return await task();
    } finally {
      this.#count -= 1;
      if (this.#count === 0) this.#drained?.();
    }
  }

  /** Waits for what runs, then calls `release`, once; later calls wait for the first. */
  close(release: () => Promise<void>): Promise<void> {
    this.#closing ??= this.#drain().then(release);
    return this.#closing;
  }

  async #drain(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => (this.#drained = resolve));
  }
}
