/**
 * Checks the directories, tables and grains of a sparse extent, hosted or COWD, without reading data. Memory is
 * bounded: places of grains are marked in a bitmap of a window of the file, and the tables are gone through once for
 * every window (one is enough for 128 GiB at a grain of a sector).
 */
import { Bitmap } from '@prima/block';
import { alignUp, throwIfAborted } from '@prima/base';
import type { DiskFile } from './disk-file.ts';
import type { Findings } from './findings.ts';
import { sectorBytes } from './hosted-header.ts';
import type { SparseTables } from './sparse-tables.ts';

export interface SparseCheck {
  file: DiskFile;
  tables: SparseTables;
  tableCount: number;
  grainBytes: number;
  /** Bytes of the disk that the tables stand for. */
  size: number;
  zeroEntries: boolean;
  dataStart: number;
  /** Grains have any length (they are compressed): their ends are not known. */
  compressed: boolean;
  findings: Findings;
  signal?: AbortSignal;
}

export interface SparseChecked {
  /** Where the last thing that is used ends, bytes. */
  usedEnd: number;
  grains: number;
  /** Tables whose copies are not what is read. */
  unequalTables: number[];
  /** The end of a grain that the file ends in, 0 for none. */
  cutGrainEnd: number;
}

const windowGrains = 256 * 1024 * 1024;

export async function checkSparse(check: SparseCheck): Promise<SparseChecked> {
  const { file, grainBytes } = check;
  const result: SparseChecked = { usedEnd: check.dataStart, grains: 0, unequalTables: [], cutGrainEnd: 0 };
  const places = new TablePlaces(check.tables.tableBytes);
  for (let index = 0; index < check.tableCount; index += 1) {
    throwIfAborted(check.signal, `checking ${file.name}`);
    await checkTablePlace(check, index, { result, places });
  }
  places.sort();
  const units = Math.ceil(file.size / grainBytes);
  for (let first = 0; first < units || first === 0; first += windowGrains) {
    const window = { first, used: new Bitmap(Math.max(0, Math.min(windowGrains, units - first))) };
    await checkGrains(check, { result, places, window });
  }
  if (!check.compressed) reportUnused(check, result, places);
  return result;
}

interface Progress {
  result: SparseChecked;
  places: TablePlaces;
}

async function checkTablePlace(
  check: SparseCheck,
  index: number,
  { result, places }: Progress,
): Promise<void> {
  const { tables, findings, file } = check;
  const sectors = await tables.placesOf(index);
  if (sectors.every((sector) => sector === 0)) return;
  const broken = sectors.filter((sector) => !tables.isTable(sector));
  const where = tables.directoryOffset(0, index);
  if (broken.length === sectors.length) {
    findings.add(
      'directory-entry-broken',
      file.name,
      `grain table ${index} is nowhere (at sector ${sectors[0]})`,
      where,
    );
    return;
  }
  if (broken.length > 0) {
    findings.add(
      'copy-broken',
      file.name,
      `a copy of grain table ${index} is nowhere (at sector ${broken[0]})`,
      where,
    );
    result.unequalTables.push(index);
  }
  for (const sector of sectors) {
    if (!tables.isTable(sector)) continue;
    places.add(sector);
    result.usedEnd = Math.max(result.usedEnd, sector * sectorBytes + tables.tableBytes);
  }
  if (broken.length > 0 || sectors.length < 2) return;
  const used = await tables.table(index);
  const copies = await Promise.all(sectors.map((sector) => tables.readTable(sector)));
  if (copies.every((copy) => used !== undefined && sameEntries(copy, used))) return;
  findings.add(
    'copies-differ',
    file.name,
    `the copies of grain table ${index} differ`,
    (sectors[0] ?? 0) * sectorBytes,
  );
  result.unequalTables.push(index);
}

function sameEntries(a: Uint32Array, b: Uint32Array): boolean {
  const bytes = (array: Uint32Array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}

interface Window {
  /** The first grain-sized piece of the file that it stands for. */
  first: number;
  used: Bitmap;
}

async function checkGrains(check: SparseCheck, progress: Progress & { window: Window }): Promise<void> {
  const { tables, tableCount, size, grainBytes, file } = check;
  const grainCount = Math.ceil(size / grainBytes);
  for (let index = 0; index < tableCount; ) {
    throwIfAborted(check.signal, `checking ${file.name}`);
    const table = await tableIfThere(tables, index);
    if (table === undefined) {
      index += tables.missingFrom(index);
      continue;
    }
    const first = index * tables.entriesPerTable;
    const count = Math.min(table.length, grainCount - first);
    for (let at = 0; at < count; at += 1) {
      const entry = table[at] ?? 0;
      if (entry > 1 || (entry === 1 && !check.zeroEntries))
        checkGrain(check, progress, { grain: first + at, entry });
    }
    index += 1;
  }
}

/** Undefined for one that cannot be read, too: that has been reported. */
async function tableIfThere(tables: SparseTables, index: number): Promise<Uint32Array | undefined> {
  const places = await tables.placesOf(index);
  return places.some((sector) => tables.isTable(sector)) ? tables.table(index) : undefined;
}

function checkGrain(
  check: SparseCheck,
  { result, places, window }: Progress & { window: Window },
  { grain, entry }: { grain: number; entry: number },
): void {
  const { file, grainBytes, findings, tables, dataStart, compressed, size } = check;
  const position = entry * sectorBytes;
  const unit = Math.floor(position / grainBytes) - window.first;
  const isFirstPass = window.first === 0;
  const where = tables.entryOffset(grain);
  const what = `grain ${grain} is said to be at ${position}`;
  if (position >= file.size) {
    if (isFirstPass)
      findings.add('grain-beyond-end', file.name, `${what}; the file ends at ${file.size}`, where);
    return;
  }
  if (isFirstPass) {
    result.grains += 1;
    const needed = compressed ? sectorBytes : Math.min(grainBytes, size - grain * grainBytes);
    if (position + needed > file.size) {
      findings.add('grain-cut-off', file.name, `${what}; the file ends within it, at ${file.size}`, where);
      result.cutGrainEnd = Math.max(result.cutGrainEnd, position + grainBytes);
    }
    if (position < dataStart || places.overlaps(entry, compressed ? 1 : grainBytes / sectorBytes)) {
      findings.add('grain-in-tables', file.name, `${what}, where tables are`, where);
    }
    result.usedEnd = Math.max(result.usedEnd, position + (compressed ? needed : grainBytes));
  }
  if (compressed || unit < 0 || unit >= window.used.length) return;
  if (window.used.has(unit))
    findings.add('grain-used-twice', file.name, `${what}, where another one is`, where);
  window.used.add(unit, unit + 1);
}

function reportUnused(check: SparseCheck, result: SparseChecked, places: TablePlaces): void {
  const { file, findings, grainBytes, dataStart } = check;
  const end = alignUp(result.usedEnd, sectorBytes);
  if (file.size > end) {
    findings.add('tail-unused', file.name, `the last ${file.size - end} bytes belong to nothing`, end);
  }
  const inside = Math.min(file.size, end) - dataStart;
  const lost = inside - result.grains * grainBytes - places.bytesFrom(dataStart);
  if (lost >= grainBytes) {
    findings.add(
      'grains-lost',
      file.name,
      `${lost} bytes among the grains belong to nothing; a copy is smaller`,
    );
  }
}

/** Where tables are, so that a grain among them is noticed. */
class TablePlaces {
  #sectors = new Float64Array(64);
  #count = 0;
  readonly #tableBytes: number;

  constructor(tableBytes: number) {
    this.#tableBytes = tableBytes;
  }

  add(sector: number): void {
    if (this.#count === this.#sectors.length) {
      const larger = new Float64Array(this.#count * 2);
      larger.set(this.#sectors);
      this.#sectors = larger;
    }
    this.#sectors[this.#count] = sector;
    this.#count += 1;
  }

  sort(): void {
    this.#sectors = this.#sectors.subarray(0, this.#count).sort();
  }

  /** True when `length` sectors from `sector` on touch a table. */
  overlaps(sector: number, length: number): boolean {
    const tableSectors = this.#tableBytes / sectorBytes;
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sectors[middle] ?? 0) + tableSectors <= sector) low = middle + 1;
      else high = middle;
    }
    return low < this.#count && (this.#sectors[low] ?? 0) < sector + length;
  }

  /** Bytes of the tables that begin at `start` or later. */
  bytesFrom(start: number): number {
    const behind = this.#sectors.filter((sector) => sector * sectorBytes >= start);
    return behind.length * this.#tableBytes;
  }
}
