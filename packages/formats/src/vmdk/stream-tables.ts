/**
 * What the tables in a stream say of its grains. A reader from front to end needs no table, but they show what a
 * marker cannot: that a grain is missing, or says another place than it was written for.
 *
 * Grain tables come behind their grains, each entry the sector of its grain's marker; or all of them lie in front,
 * where they are counted, for there the grains are still to come.
 */
import { FormatError } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';

/** Entries below are none: 0 is "not here", 1 "zeros". */
const firstSector = 2;

export class GrainTables {
  readonly #entriesPerTable: number;
  readonly #name: string;
  /** Sector of the marker and number of each grain of the newest tables. */
  #recent = new Map<number, number>();
  #before = new Map<number, number>();
  #table = -1;
  /** Sector of the oldest grain that is remembered. */
  #since = Infinity;

  constructor(name: string, entriesPerTable: number) {
    this.#name = name;
    this.#entriesPerTable = entriesPerTable;
  }

  /** Grains come in ascending order. */
  addGrain(number: number, at: number): void {
    const table = Math.floor(number / this.#entriesPerTable);
    if (table !== this.#table) {
      this.#before = this.#recent;
      this.#recent = new Map();
      this.#table = table;
    }
    this.#recent.set(at / sectorBytes, number);
    const [oldest = Infinity] = this.#before.size > 0 ? this.#before.keys() : this.#recent.keys();
    this.#since = oldest;
  }

  /** @param at where the table lies in the stream, bytes */
  check(table: Uint8Array, at: number): void {
    const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
    for (let entry = 0; entry < this.#entriesPerTable; entry += 1) {
      const sector = view.getUint32(entry * 4, true);
      if (sector < firstSector || sector < this.#since) continue; // none, or too long ago to be remembered
      const grain = this.#recent.get(sector) ?? this.#before.get(sector);
      if (grain !== undefined && grain % this.#entriesPerTable === entry) continue;
      const found = grain === undefined ? 'no grain is' : `the grain ${grain} of the disk is`;
      throw new FormatError(
        `${this.#name}: the grain table at byte ${at} names a grain at byte ${sector * sectorBytes} as its number ` +
          `${entry}, where ${found}; the file is damaged`,
        { details: { offset: at } },
      );
    }
  }
}

/** How many grains a table names. */
export function countGrains(table: Uint8Array): number {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  let count = 0;
  for (let at = 0; at + 4 <= table.length; at += 4) {
    if (view.getUint32(at, true) >= firstSector) count += 1;
  }
  return count;
}
