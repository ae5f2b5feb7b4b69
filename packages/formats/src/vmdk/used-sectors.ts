/** Which sectors of a window of a file are in use, a bit each. */

export class UsedSectors {
  /** The window: `[first, end)`. */
  readonly first: number;
  readonly end: number;
  readonly #words: Uint32Array;

  constructor(first: number, count: number) {
    this.first = first;
    this.end = first + count;
    this.#words = new Uint32Array(Math.ceil(count / 32));
  }

  /** True when one of `length` sectors from `sector` on, as far as they are in the window, is in use. */
  overlaps(sector: number, length: number): boolean {
    return this.#each(sector, length, (word, mask) => ((this.#words[word] ?? 0) & mask) !== 0);
  }

  add(sector: number, length: number): void {
    this.#each(sector, length, (word, mask) => {
      this.#words[word] = (this.#words[word] ?? 0) | mask;
      return false;
    });
  }

  /** How many sectors of the window, before `end`, are in use. */
  countBefore(end: number): number {
    let count = 0;
    this.#each(this.first, end - this.first, (word, mask) => {
      count += onesIn((this.#words[word] ?? 0) & mask);
      return false;
    });
    return count;
  }

  /** Word by word, until one is told to be enough. */
  #each(sector: number, length: number, visit: (word: number, mask: number) => boolean): boolean {
    const stop = Math.min(sector + length, this.end) - this.first;
    for (let bit = Math.max(sector, this.first) - this.first; bit < stop; ) {
      const inside = bit % 32;
      const count = Math.min(32 - inside, stop - bit);
      const ones = count === 32 ? -1 : (1 << count) - 1;
      if (visit(Math.floor(bit / 32), ones << inside)) return true;
      bit += count;
    }
    return false;
  }
}

function onesIn(word: number): number {
  let rest = word - ((word >>> 1) & 0x5555_5555);
  rest = (rest & 0x3333_3333) + ((rest >>> 2) & 0x3333_3333);
  return (((rest + (rest >>> 4)) & 0x0f0f_0f0f) * 0x0101_0101) >>> 24;
}
