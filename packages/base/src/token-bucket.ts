/** A rate that is kept on average: the token bucket. */
import type { Clock } from './clock.ts';
import { assert } from './errors.ts';

export interface TokenBucketOptions {
  tokensPerSecond: number;
  /** How many tokens pile up while nobody takes any. Default: what 100 ms bring. */
  burst?: number;
  clock: Clock;
}

/**
 * Callers go into debt and wait until it is paid, so that a call larger than the burst gets through
 * and calls are served in the order in which they came.
 */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  readonly #clock: Clock;
  #tokens: number;
  #filledAt: number;

  constructor(options: TokenBucketOptions) {
    const { tokensPerSecond, burst = tokensPerSecond / 10, clock } = options;
    assert(tokensPerSecond > 0 && burst >= 0, `a rate of ${tokensPerSecond} per second is positive`);
    this.#rate = tokensPerSecond;
    this.#burst = burst;
    this.#clock = clock;
    this.#tokens = burst;
    this.#filledAt = clock.monotonic();
  }

  /** Resolves when `count` tokens may be used. Cancelled, it gives them back. */
  async take(count: number, signal?: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) * this.#rate) / 1000);
    this.#filledAt = now;
    this.#tokens -= count;
    if (this.#tokens >= 0) return;
    try {
      await this.#clock.sleep((-this.#tokens * 1000) / this.#rate, signal);
    } catch (error) {
      this.#tokens += count;
      throw error;
    }
  }
}
