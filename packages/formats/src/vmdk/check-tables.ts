/**
 * The grain tables of a sparse extent and their copies: which of them are tables, which can be told to be the same, and
 * which differ. What differs is decided in check-copies.ts, once it is known what the others name.
 */
import { PrimaError, throwIfAborted } from '@prima/base';
import type { SparseCheck } from './check-sparse.ts';
import { sectorBytes } from './hosted-header.ts';
import { type DirectorySurvey, overlap, type SectorRange, type TablePlaces } from './table-places.ts';

/** More tables that differ than this are left for another run: 2 TiB of disk where a grain has 64 KiB. */
export const differingLimit = 65_536;

export class CheckedTables {
  /** Tables of which a copy is missing: the directories that need one. */
  readonly missing = new Map<number, number[]>();
  /** Tables with two copies that differ. */
  readonly differing = new Set<number>();
  /** Beyond `differingLimit`. */
  leftOver = 0;
  readonly places: TablePlaces;
  /** For each directory why it is none. */
  readonly faults: readonly (string | undefined)[];
  readonly #check: SparseCheck;
  /** All that no grain may be in besides tables. */
  readonly areas: readonly SectorRange[];
  readonly #noTables = new Set<number>();

  constructor(check: SparseCheck, { places, faults }: DirectorySurvey) {
    this.#check = check;
    this.places = places;
    this.faults = faults;
    const length = Math.ceil((check.tableCount * 4) / sectorBytes);
    const directories = check.tables.directories.map((sector) => ({ sector, length }));
    this.areas = [...check.areas, ...directories.filter((_, which) => faults[which] === undefined)];
  }

  /** Where each directory has the table, 0 where it has none that can be one; undefined where it is not to be. */
  async sectorsOf(index: number): Promise<number[] | undefined> {
    const sectors = await this.#check.tables.placesOf(index);
    const usable = sectors.filter((_, which) => this.faults[which] === undefined);
    if (usable.every((sector) => sector === 0)) return undefined;
    return sectors.map((sector, which) =>
      this.faults[which] === undefined && sectors.indexOf(sector) === which && this.#canBe(sector)
        ? sector
        : 0,
    );
  }

  #canBe(sector: number): boolean {
    const { tables } = this.#check;
    if (!tables.isTable(sector) || this.#noTables.has(sector) || this.places.clashes(sector)) return false;
    const length = this.places.tableSectors;
    return !this.areas.some((area) => overlap(area, { sector, length }));
  }

  /** What was taken for tables and is none: something else is there. */
  rule(places: ReadonlySet<number>): void {
    for (const place of places) this.#noTables.add(place);
    this.places.remove(places);
  }

  /** The table, the first of its copies; undefined where there is none or only such that differ. */
  async agreed(index: number): Promise<Uint32Array | undefined> {
    if (this.differing.has(index)) return undefined;
    const { tables } = this.#check;
    const sectors = await this.sectorsOf(index);
    const sector = sectors?.find((place) => place > 0);
    if (sector === undefined) return undefined;
    const [first] = await tables.placesOf(index);
    // tables that the reader takes too are read many at once
    if (sector === first && this.faults.length === 1) return tables.table(index);
    return readable(tables.readTable(sector));
  }

  /** Both copies of one that differs, the one that is read first. */
  async copies(index: number): Promise<[Uint32Array, Uint32Array] | undefined> {
    const [first = 0, second = 0] = (await this.sectorsOf(index)) ?? [];
    if (first === 0 || second === 0) return undefined;
    const { tables } = this.#check;
    const pair = await Promise.all([readable(tables.readTable(first)), readable(tables.readTable(second))]);
    return pair[0] && pair[1] ? [pair[0], pair[1]] : undefined;
  }

  /** Goes through all tables, notes what is missing and what differs. */
  async compare(): Promise<void> {
    const { tableCount, signal, file } = this.#check;
    this.missing.clear();
    this.differing.clear();
    this.leftOver = 0;
    for (let index = 0; index < tableCount; index += 1) {
      throwIfAborted(signal, `checking ${file.name}`);
      const sectors = await this.sectorsOf(index);
      if (sectors) await this.#compareCopies(index, sectors);
    }
  }

  async #compareCopies(index: number, sectors: readonly number[]): Promise<void> {
    const { tables } = this.#check;
    const used = [...sectors.keys()].filter((which) => this.faults[which] === undefined);
    const contents: (Uint32Array | undefined)[] = [];
    for (const which of used) {
      const sector = sectors[which] ?? 0;
      contents.push(sector > 0 ? await readable(tables.readTable(sector)) : undefined);
    }
    const gone = used.filter((_, at) => contents[at] === undefined);
    if (gone.length > 0) {
      for (const which of gone) if (sectors[which]) this.rule(new Set([sectors[which]]));
      this.missing.set(index, gone);
      return;
    }
    const [first, second] = contents;
    if (!first || !second || sameEntries(first, second)) return;
    if (this.differing.size < differingLimit) this.differing.add(index);
    else this.leftOver += 1;
  }
}

/** Undefined for what the disk cannot read any more. */
async function readable(table: Promise<Uint32Array>): Promise<Uint32Array | undefined> {
  try {
    return await table;
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'io') return undefined;
    throw error;
  }
}

function sameEntries(a: Uint32Array, b: Uint32Array): boolean {
  const bytes = (array: Uint32Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}
