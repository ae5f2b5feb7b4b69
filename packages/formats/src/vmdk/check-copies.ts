/** Grain tables whose copies differ: which entries can be true, and what the two make together (table-copies.ts). */
import { throwIfAborted } from '@prima/base';
import { isInTables, type SparseCheck } from './check-sparse.ts';
import { type CheckedTables, differingLimit } from './check-tables.ts';
import { sectorBytes } from './hosted-header.ts';
import { type MergedCopies, mergeCopies } from './table-copies.ts';
import { UsedSectors } from './used-sectors.ts';

type Which = 0 | 1;
/** The grain is another one's; another entry of which no more is known has it, too. For the second copy shifted by one. */
const takenBit = 1;
const doubtBit = 4;

export class CopyCheck {
  /** Tables that can be made one. */
  readonly mendable: number[] = [];
  /** Where the last grain that only one copy names ends. */
  usedEnd = 0;
  readonly #check: SparseCheck;
  readonly #tables: CheckedTables;
  /** What is known of entries, each copy with bits of its own. */
  readonly #taken = new Map<number, Uint8Array>();
  /** Sectors that two entries of which only one copy knows claim. */
  readonly #claimedTwice = new Set<number>();

  constructor(check: SparseCheck, tables: CheckedTables) {
    this.#check = check;
    this.#tables = tables;
  }

  #length(): number {
    return this.#check.compressed ? 1 : this.#check.grainBytes / sectorBytes;
  }

  /** A copy is none where grains of others are, or those of the other copy: its entry in the directory is damaged. */
  async ruleOutPlaces(): Promise<void> {
    const { differing, places } = this.#tables;
    if (differing.size === 0) return;
    const owners = new Map<number, number>();
    for (const index of differing) {
      for (const sector of (await this.#tables.sectorsOf(index)) ?? []) owners.set(sector, index);
    }
    const touched = new Set<number>();
    const length = this.#length();
    for await (const [index, table] of this.#allTables()) {
      for (const entry of table) {
        const place = entry > 1 ? places.touched(entry, length) : undefined;
        // its own grains over itself are noise
        if (place === undefined || owners.get(place) === index || !owners.has(place)) continue;
        if (!this.#isNoiseOver(entry, place)) touched.add(place);
      }
    }
    for (const index of differing) await this.#touchEachOther(index, touched);
    const ruledOut = new Set<number>();
    for (const index of differing) {
      const [first = 0, second = 0] = (await this.#tables.sectorsOf(index)) ?? [];
      if (touched.has(first) === touched.has(second) || (await this.#haveCommon(index))) continue;
      ruledOut.add(touched.has(first) ? first : second);
    }
    if (ruledOut.size === 0) return;
    this.#tables.rule(ruledOut);
    await this.#tables.compare();
  }

  /** Where the header says that tables are is no grain: who names one there is wrong, not the table. */
  #isNoiseOver(entry: number, place: number): boolean {
    const { headEnd } = this.#check;
    return entry * sectorBytes < headEnd && place * sectorBytes < headEnd;
  }

  /** True when both copies name some grain alike: then both are tables, whatever is in the way. */
  async #haveCommon(index: number): Promise<boolean> {
    const [first, second] = (await this.#tables.copies(index)) ?? [];
    return first?.some((entry, at) => entry > 1 && entry === second?.[at]) ?? false;
  }

  async *#allTables(): AsyncGenerator<[number, Uint32Array]> {
    const { tableCount, signal, file } = this.#check;
    for (let index = 0; index < tableCount; index += 1) {
      throwIfAborted(signal, `checking ${file.name}`);
      const table = await this.#tables.agreed(index);
      if (table) yield [index, table];
    }
  }

  async #touchEachOther(index: number, touched: Set<number>): Promise<void> {
    const pair = await this.#tables.copies(index);
    const [first = 0, second = 0] = (await this.#tables.sectorsOf(index)) ?? [];
    const { tableSectors } = this.#tables.places;
    const length = this.#length();
    const touches = (table: Uint32Array | undefined, place: number) =>
      table?.some(
        (entry) =>
          entry > 1 &&
          entry < place + tableSectors &&
          place < entry + length &&
          !this.#isNoiseOver(entry, place),
      ) ?? false;
    const [hitsSecond, hitsFirst] = [touches(pair?.[0], second), touches(pair?.[1], first)];
    if (hitsSecond && !hitsFirst) touched.add(second);
    if (hitsFirst && !hitsSecond) touched.add(first);
  }

  /** Looks whether grains that only one copy names are another one's; `used` holds what is known of the window. */
  async checkWindow(used: UsedSectors): Promise<void> {
    if (this.#tables.differing.size === 0) return;
    const claimed = new UsedSectors(used.first, used.end - used.first);
    const length = this.#length();
    await this.#eachDifferent((index, at, which, entry) => {
      if (used.overlaps(entry, length)) this.#mark(index, at, takenBit << which);
      else if (claimed.overlaps(entry, length)) this.#claimedTwice.add(entry);
      else {
        claimed.add(entry, length);
      }
    });
  }

  async #eachDifferent(
    visit: (index: number, at: number, which: Which, entry: number) => void,
  ): Promise<void> {
    const { signal, file } = this.#check;
    for (const index of this.#tables.differing) {
      throwIfAborted(signal, `checking ${file.name}`);
      const pair = await this.#tables.copies(index);
      if (!pair) continue;
      for (const [at, first] of pair[0].entries()) {
        const second = pair[1][at] ?? 0;
        if (first === second) continue;
        if (this.#isPossible(first)) visit(index, at, 0, first);
        if (this.#isPossible(second)) visit(index, at, 1, second);
      }
    }
  }

  /** A grain that is in the file and not where something else has to be. */
  #isPossible(entry: number): boolean {
    const { file, dataStart, grainBytes, size, compressed } = this.#check;
    const position = entry * sectorBytes;
    const needed = compressed ? sectorBytes : Math.min(grainBytes, size % grainBytes || grainBytes);
    if (entry === 0 || position < dataStart || position + needed > file.size) return false;
    return !isInTables(this.#tables, { sector: entry, length: this.#length() });
  }

  #mark(index: number, at: number, bit: number): void {
    const bits = this.#taken.get(index) ?? new Uint8Array(this.#check.tables.entriesPerTable);
    bits[at] = (bits[at] ?? 0) | bit;
    this.#taken.set(index, bits);
  }

  /** After all windows: says of each table whether its copies can be made one. */
  async decide(): Promise<void> {
    const { findings, file, tables } = this.#check;
    if (this.#claimedTwice.size > 0) {
      const length = this.#length();
      const all = Uint32Array.from(this.#claimedTwice).sort();
      await this.#eachDifferent((index, at, which, entry) => {
        if (isNear(all, entry, length)) this.#mark(index, at, doubtBit << which);
      });
    }
    await this.#eachDifferent((_index, _at, _which, entry) => {
      this.usedEnd = Math.max(this.usedEnd, entry * sectorBytes + this.#length() * sectorBytes);
    });
    // what says where other grains are is itself not to be believed then
    const errors = findings.errorsOf(file.name);
    const doubtful = errors.has('grain-used-twice') || errors.has('grain-in-tables');
    for (const index of this.#tables.differing) {
      const [at = 0] = await tables.placesOf(index);
      const result = doubtful
        ? { refused: 'other tables name places that cannot be right' }
        : await this.merged(index);
      if (result && 'merged' in result) {
        this.mendable.push(index);
        const text = `the copies of grain table ${index} differ in ${result.different} entries; both together are whole`;
        findings.add('copies-differ', file.name, text, at * sectorBytes);
      } else {
        const text = `the copies of grain table ${index} contradict each other: ${result?.refused ?? 'one cannot be read'}`;
        findings.add('copies-conflict', file.name, text, at * sectorBytes);
      }
    }
    if (this.#tables.leftOver === 0) return;
    const text = `the copies of ${this.#tables.leftOver} more tables differ; ${differingLimit} are looked at in a run`;
    findings.add('copies-differ', file.name, text);
  }

  /** What the two copies make together. */
  async merged(index: number): Promise<MergedCopies | undefined> {
    const pair = await this.#tables.copies(index);
    if (!pair) return undefined;
    const taken = this.#taken.get(index);
    return mergeCopies(pair, {
      zeroEntries: this.#check.zeroEntries,
      trust: (which, at, entry) => {
        const known = (taken?.[at] ?? 0) >> which;
        if ((known & takenBit) !== 0 || !this.#isPossible(entry)) return 'impossible';
        return (known & doubtBit) === 0 ? 'sound' : 'doubtful';
      },
    });
  }
}

/** True when one of `sorted` is less than `length` away. */
function isNear(sorted: Uint32Array, entry: number, length: number): boolean {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) <= entry - length) low = middle + 1;
    else high = middle;
  }
  const found = sorted[low];
  return found !== undefined && found < entry + length;
}
