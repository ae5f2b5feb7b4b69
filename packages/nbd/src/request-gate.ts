/** Lets requests in by count and by bytes; the others wait in order. */
import { assert, toPrimaError } from '@prima/base';

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

  /** Resolves with the function that gives the place back; call it exactly once. Raises `cancelled`. */
  async enter(bytes: number, signal?: AbortSignal): Promise<() => void> {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) await this.#wait(bytes, signal);
    else this.#take(bytes);
    return () => {
      this.#count -= 1;
      this.#bytes -= bytes;
      this.#admit();
    };
  }

  async #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const place = { bytes, enter: resolve };
    const onAbort = () => {
      const at = this.#waiting.indexOf(place);
      if (at < 0) return; // it has just been let in
      this.#waiting.splice(at, 1);
      reject(toPrimaError(signal?.reason, 'waiting to send a request'));
      this.#admit();
    };
    this.#waiting.push(place);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
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
