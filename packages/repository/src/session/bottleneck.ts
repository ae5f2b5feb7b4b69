/** Which part of the pipeline the others wait for, from samples of who has work in hand. */
import type { Bottleneck } from '@prima/base';

export class BottleneckMeter {
  readonly #weights: Record<Bottleneck, number> = { source: 0, processing: 0, store: 0 };

  /** @param busy how full each part's queue is, 0 to 1 */
  sample(busy: Record<Bottleneck, number>): void {
    for (const part of ['source', 'processing', 'store'] as const) {
      this.#weights[part] = this.#weights[part] * 0.8 + busy[part];
    }
  }

  /** The fullest part of late; undefined before the first sample. */
  get current(): Bottleneck | undefined {
    const [best] = Object.entries(this.#weights).sort(([, a], [, b]) => b - a);
    return best && best[1] > 0 ? (best[0] as Bottleneck) : undefined;
  }
}
