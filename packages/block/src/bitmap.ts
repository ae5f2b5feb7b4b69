/** A growing set of block numbers, one bit each. */
import { assert } from '@prima/base';

/** Blocks `[first, end)` that are all in the set, or all not. */
export interface BitmapRun {
  first: number;
  end: number;
  set: boolean;
}

export class Bitmap {
  readonly length: number;
  readonly #bytes: Uint8Array;

  /** @param length number of blocks; takes an eighth as many bytes */
  constructor(length: number) {
    assert(Number.isSafeInteger(length) && length >= 0, `bitmap length ${length} is a count`);
    this.length = length;
    this.#bytes = new Uint8Array(Math.ceil(length / 8));
  }

  has(index: number): boolean {
    return ((this.#byte(index) >> (index % 8)) & 1) === 1;
  }

  /** Adds `[first, end)`. */
  add(first: number, end: number): void {
    assert(first >= 0 && first <= end && end <= this.length, `blocks ${first} to ${end} are in the bitmap`);
    for (let index = first; index < end; ) {
      if (index % 8 === 0 && end - index >= 8) {
        const whole = Math.floor((end - index) / 8);
        this.#bytes.fill(0xff, index / 8, index / 8 + whole);
        index += whole * 8;
      } else {
        this.#bytes[Math.floor(index / 8)] = this.#byte(index) | (1 << (index % 8));
        index += 1;
      }
    }
  }

  /** The runs that cover `[first, end)`, ascending, as long as they can be. */
  *runs(first: number, end: number): Generator<BitmapRun> {
    for (let index = first; index < end; ) {
      const set = this.has(index);
      const stop = this.#runEnd(index, end, set);
      yield { first: index, end: stop, set };
      index = stop;
    }
  }

  #runEnd(first: number, end: number, set: boolean): number {
    const whole = set ? 0xff : 0;
    let index = first + 1;
    while (index < end) {
      if (index % 8 === 0 && this.#byte(index) === whole) index += 8;
      else if (this.has(index) === set) index += 1;
      else break;
    }
    return Math.min(index, end);
  }

  #byte(index: number): number {
    return this.#bytes[Math.floor(index / 8)] ?? 0;
  }
}
