/** Lets requests in by count and by bytes; the others wait in order. */
import { assert } from '@prima/base';

export interface GateLimits {
  /** Requests at once. */
  count: number;
  /** Their payload together; one request alone may have more. */
  bytes: number;
}

export class RequestGate {
  readonly #limits: GateLimits;
  readonly #waiting: { bytes: number; enter: () => void }[] = [];
  #count = 0;
  #bytes = 0;

  constructor(limits: GateLimits) {
    assert(limits.count > 0 && limits.bytes > 0, 'a gate lets something in');
    this.#limits = limits;
  }

  /** Resolves with the function that gives the place back; call it exactly once. */
  async enter(bytes: number): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, enter: resolve }));
    } else {
      this.#take(bytes);
    }
    return () => {
      this.#count -= 1;
      this.#bytes -= bytes;
      this.#admit();
    };
  }

  #fits(bytes: number): boolean {
    const { count, bytes: most } = this.#limits;
    return this.#count === 0 || (this.#count < count && this.#bytes + bytes <= most);
  }

  #take(bytes: number): void {
    this.#count += 1;
    this.#bytes += bytes;
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.bytes);
      next.enter();
    }
  }
}
