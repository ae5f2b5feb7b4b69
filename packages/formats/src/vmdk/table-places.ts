/** Where the grain tables of an extent are, so that what else is there is noticed. */
import type { SparseTables } from './sparse-tables.ts';
import { sectorBytes } from './hosted-header.ts';

/** A piece of a file, in sectors. */
export interface SectorRange {
  sector: number;
  length: number;
}

export class TablePlaces {
  #sectors = new Uint32Array(64);
  #count = 0;
  readonly tableSectors: number;

  constructor(tableSectors: number) {
    this.tableSectors = tableSectors;
  }

  add(sector: number): void {
    if (this.#count === this.#sectors.length) {
      const larger = new Uint32Array(this.#count * 2);
      larger.set(this.#sectors);
      this.#sectors = larger;
    }
    this.#sectors[this.#count] = sector;
    this.#count += 1;
  }

  /** Has to be called when all are there; again after `remove`. */
  sort(): void {
    this.#sectors = this.#sectors.subarray(0, this.#count).sort();
  }

  remove(places: ReadonlySet<number>): void {
    this.#sectors = this.#sectors.filter((sector) => !places.has(sector));
    this.#count = this.#sectors.length;
  }

  /** The first table that `length` sectors from `sector` on touch; undefined for none. */
  touched(sector: number, length: number): number | undefined {
    const found = this.#sectors[this.#indexFrom(sector - this.tableSectors + 1)];
    return found !== undefined && found < sector + length ? found : undefined;
  }

  /** True when another table touches the one at `sector`, or the same one is counted twice. */
  clashes(sector: number): boolean {
    const index = this.#indexFrom(sector - this.tableSectors + 1);
    const next = this.#sectors[index + 1];
    return next !== undefined && next < sector + this.tableSectors;
  }

  /** The index of the first place at or behind `sector`. */
  #indexFrom(sector: number): number {
    let [low, high] = [0, this.#sectors.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#sectors[middle] ?? 0) < sector) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  *[Symbol.iterator](): Generator<number> {
    yield* this.#sectors;
  }
}

export interface DirectorySurvey {
  places: TablePlaces;
  /** For each directory, why it is not one; undefined for those that are. */
  faults: (string | undefined)[];
}

interface Survey {
  tables: SparseTables;
  tableCount: number;
  /** What else there is: header and descriptor. */
  areas: readonly SectorRange[];
}

/** Looks at the directories: which are some, and where they say that tables are. */
export async function surveyDirectories(survey: Survey): Promise<DirectorySurvey> {
  const { tables, tableCount, areas } = survey;
  const count = tables.directories.length;
  const counts = tables.directories.map(() => ({ named: 0, impossible: 0 }));
  for (let index = 0; index < tableCount; index += 1) {
    const sectors = await tables.placesOf(index);
    for (const [which, sector] of sectors.entries()) {
      const tally = counts[which];
      if (sector === 0 || !tally) continue;
      tally.named += 1;
      if (!tables.isTable(sector)) tally.impossible += 1;
    }
  }
  const length = Math.ceil((tableCount * 4) / sectorBytes);
  const faults = counts.map(({ named, impossible }, which) => {
    const sector = tables.directories[which] ?? 0;
    const isInArea = areas.some((area) => overlap(area, { sector, length }));
    if (isInArea) return 'lies where the header or the descriptor is';
    if (impossible * 2 > named)
      return `names ${impossible} tables (of ${named}) that are outside of the file`;
    const isEmpty = named === 0 && counts.some((other) => other.named > 0);
    return isEmpty ? 'is empty, though the other one is not' : undefined;
  });
  // the only one there is has to do
  const usable = faults.every((fault) => fault !== undefined) ? faults.map(() => undefined) : faults;
  const places = new TablePlaces(tables.tableBytes / sectorBytes);
  for (let index = 0; index < tableCount; index += 1) {
    const sectors = await tables.placesOf(index);
    for (let which = 0; which < count; which += 1) {
      const sector = sectors[which] ?? 0;
      // the second one may name the first one's table, which then is no copy
      if (usable[which] === undefined && tables.isTable(sector) && sectors.indexOf(sector) === which)
        places.add(sector);
    }
  }
  places.sort();
  return { places, faults: usable };
}

export function overlap(a: SectorRange, b: SectorRange): boolean {
  return a.sector < b.sector + b.length && b.sector < a.sector + a.length;
}
