/** Free space as a list of ranges that cannot grow without bound, and what it is held against. */
import { mergeRanges, type Range } from '@prima/base';
import { refuse } from './metadata-reader.ts';

/** Fragments below this are not worth a hole. */
const defaultSmallest = 64 * 1024;
const mostRanges = 2 ** 18;

/** Takes free ranges in ascending order; neighbours become one, and short ones are left out. */
export class FreeRanges {
  /** All that was added, also what was left out. */
  bytes = 0;
  #smallest: number;
  #ranges: Range[] = [];
  #last: Range | undefined;

  constructor(smallest = defaultSmallest) {
    this.#smallest = smallest;
  }

  add(offset: number, length: number): void {
    this.bytes += length;
    if (this.#last && this.#last.offset + this.#last.length === offset) {
      this.#last.length += length;
      return;
    }
    this.#keepLast();
    this.#last = { offset, length };
  }

  /** Ascending, none touching another. */
  list(): Range[] {
    this.#keepLast();
    return this.#ranges;
  }

  #keepLast(): void {
    const last = this.#last;
    this.#last = undefined;
    if (!last || last.length < this.#smallest) return;
    this.#ranges.push(last);
    while (this.#ranges.length > mostRanges) {
      this.#smallest *= 2;
      this.#ranges = this.#ranges.filter(({ length }) => length >= this.#smallest);
    }
  }
}

/** Bits `[first, end)` of a bitmap (the lowest bit of a byte first) that are clear, as runs. */
export function* clearRuns(bitmap: Uint8Array, bits: number): Generator<{ first: number; end: number }> {
  const has = (index: number) => (((bitmap[index >> 3] ?? 0xff) >> (index & 7)) & 1) === 1;
  const skip = (from: number, set: boolean) => {
    const whole = set ? 0xff : 0;
    let index = from;
    while (index < bits) {
      if ((index & 7) === 0 && bitmap[index >> 3] === whole) index += 8;
      else if (has(index) === set) index += 1;
      else break;
    }
    return Math.min(index, bits);
  };
  for (let index = skip(0, true); index < bits; ) {
    const end = skip(index, false);
    yield { first: index, end };
    index = skip(end, true);
  }
}

/** Refuses when anything that is in use, for sure, is called free. @param free ascending */
export function assertApart(free: readonly Range[], used: readonly Range[], what: string): void {
  let i = 0;
  for (const { offset, length } of mergeRanges(used)) {
    for (;;) {
      const range = free[i];
      if (!range || range.offset >= offset + length) break;
      if (range.offset + range.length > offset) refuse(`${what} at ${offset} are called free`);
      i += 1;
    }
  }
}
