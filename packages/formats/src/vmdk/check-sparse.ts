/**
 * Checks the directories, tables and grains of a sparse extent, hosted or COWD, without reading data. Memory is
 * bounded: what is in use is marked in a bitmap of a window of the file, and the tables are gone through once for
 * every window (one is enough for 256 GiB).
 */
import { alignUp, throwIfAborted } from '@prima/base';
import { CopyCheck } from './check-copies.ts';
import { CheckedTables } from './check-tables.ts';
import type { DiskFile } from './disk-file.ts';
import type { Findings } from './findings.ts';
import { sectorBytes } from './hosted-header.ts';
import type { SparseTables } from './sparse-tables.ts';
import { overlap, type SectorRange, surveyDirectories } from './table-places.ts';
import { UsedSectors } from './used-sectors.ts';

export interface SparseCheck {
  file: DiskFile;
  tables: SparseTables;
  tableCount: number;
  grainBytes: number;
  /** Bytes of the disk that the tables stand for. */
  size: number;
  zeroEntries: boolean;
  /** Where grains may be at the earliest, and where the header says that they begin, bytes. */
  dataStart: number;
  headEnd: number;
  /** Header and descriptor. */
  areas: readonly SectorRange[];
  /** Grains have any length (they are compressed): their ends are not known. */
  compressed: boolean;
  findings: Findings;
  signal?: AbortSignal;
}

export interface SparseChecked {
  tables: CheckedTables;
  copies: CopyCheck;
  /** Where the last thing that is used ends, bytes. */
  usedEnd: number;
  /** The end of a grain that the file ends in, 0 for none. */
  cutGrainEnd: number;
  /** The first grain beyond the end of the file, bytes. */
  firstBeyond: number;
}

const overHeadOffset = 64;
const windowSectors = 512 * 1024 * 1024;

export async function checkSparse(check: SparseCheck): Promise<SparseChecked> {
  const tables = new CheckedTables(check, await surveyDirectories(check));
  await tables.compare();
  const copies = new CopyCheck(check, tables);
  await copies.ruleOutPlaces();
  const result = new GrainCheck(check, tables);
  result.reportTables();
  // entries have 32 bits; what lies beyond is not reached by any
  const reach = 2 ** 32 + Math.ceil(check.grainBytes / sectorBytes);
  const fileSectors = Math.min(Math.ceil(check.file.size / sectorBytes), reach);
  for (let first = 0; first < fileSectors || first === 0; first += windowSectors) {
    const window = new UsedSectors(first, Math.max(0, Math.min(windowSectors, fileSectors - first)));
    await result.checkWindow(window);
    await copies.checkWindow(window);
    result.countUnused(window);
  }
  await copies.decide();
  if (!check.compressed) result.reportEarly();
  result.usedEnd = Math.max(result.usedEnd, copies.usedEnd);
  if (!check.compressed && tables.differing.size === 0) result.reportUnused();
  const { usedEnd, cutGrainEnd, firstBeyond } = result;
  return { tables, copies, usedEnd, cutGrainEnd, firstBeyond };
}

class GrainCheck {
  usedEnd: number;
  cutGrainEnd = 0;
  firstBeyond = Number.POSITIVE_INFINITY;
  #firstGrain = Number.POSITIVE_INFINITY;
  #unusedSectors = 0;
  readonly #check: SparseCheck;
  readonly #tables: CheckedTables;

  constructor(check: SparseCheck, tables: CheckedTables) {
    this.#check = check;
    this.#tables = tables;
    this.usedEnd = Math.min(check.headEnd, check.file.size);
    for (const { sector, length } of tables.areas) this.#use((sector + length) * sectorBytes);
    for (const place of tables.places) this.#use((place + tables.places.tableSectors) * sectorBytes);
  }

  #use(end: number): void {
    this.usedEnd = Math.max(this.usedEnd, end);
  }

  reportTables(): void {
    const { findings, file, tables } = this.#check;
    const { faults, missing } = this.#tables;
    for (const [which, fault] of faults.entries()) {
      if (fault === undefined) continue;
      const at = (tables.directories[which] ?? 0) * sectorBytes;
      findings.add('directory-broken', file.name, `grain directory ${which + 1} ${fault}`, at);
    }
    const used = faults.filter((fault) => fault === undefined).length;
    for (const [index, gone] of missing) {
      const where = tables.directoryOffset(gone[0] ?? 0, index);
      if (gone.length === used) {
        const text = `grain table ${index} is not where the directory says, and there is no copy of it`;
        findings.add('directory-entry-broken', file.name, text, where);
      } else {
        findings.add('copy-broken', file.name, `a copy of grain table ${index} is nowhere`, where);
      }
    }
  }

  async checkWindow(window: UsedSectors): Promise<void> {
    const { tables, tableCount, file, signal } = this.#check;
    for (let index = 0; index < tableCount; ) {
      throwIfAborted(signal, `checking ${file.name}`);
      const table = await this.#tables.agreed(index);
      if (table) this.#checkTable(table, index, window);
      else if (this.#tables.differing.has(index)) {
        const pair = await this.#tables.copies(index);
        // what both say; the rest is decided when all others are known
        if (pair)
          this.#checkTable(
            pair[0].map((entry, at) => (entry === pair[1][at] ? entry : 0)),
            index,
            window,
          );
      } else if (!this.#tables.missing.has(index)) {
        index += tables.missingFrom(index);
        continue;
      }
      index += 1;
    }
  }

  #checkTable(table: Uint32Array, index: number, window: UsedSectors): void {
    const { tables, size, grainBytes, zeroEntries } = this.#check;
    const first = index * tables.entriesPerTable;
    const count = Math.min(table.length, Math.ceil(size / grainBytes) - first);
    for (let at = 0; at < count; at += 1) {
      const entry = table[at] ?? 0;
      if (entry > 1 || (entry === 1 && !zeroEntries)) this.#checkGrain({ grain: first + at, entry }, window);
    }
  }

  #checkGrain({ grain, entry }: { grain: number; entry: number }, window: UsedSectors): void {
    const { file, findings, tables, compressed, grainBytes } = this.#check;
    const position = entry * sectorBytes;
    const say = (code: Parameters<Findings['add']>[0], text: string) =>
      findings.add(
        code,
        file.name,
        `grain ${grain} is said to be at ${position}${text}`,
        tables.entryOffset(grain),
      );
    if (window.first === 0) this.#placeGrain(grain, entry, say);
    if (position >= file.size) return;
    const length = compressed ? 1 : grainBytes / sectorBytes;
    if (window.overlaps(entry, length)) say('grain-used-twice', ', where another one is');
    window.add(entry, length);
  }

  #placeGrain(
    grain: number,
    entry: number,
    say: (code: Parameters<Findings['add']>[0], text: string) => void,
  ) {
    const { file, compressed, grainBytes, size, dataStart } = this.#check;
    const position = entry * sectorBytes;
    if (position >= file.size) {
      this.firstBeyond = Math.min(this.firstBeyond, position);
      say('grain-beyond-end', `; the file ends at ${file.size}`);
      return;
    }
    const length = compressed ? 1 : grainBytes / sectorBytes;
    const needed = compressed ? sectorBytes : Math.min(grainBytes, size - grain * grainBytes);
    if (position + needed > file.size) {
      say('grain-cut-off', `; the file ends within it, at ${file.size}`);
      this.cutGrainEnd = Math.max(this.cutGrainEnd, position + grainBytes);
    }
    if (position < dataStart || isInTables(this.#tables, { sector: entry, length })) {
      say('grain-in-tables', ', where tables are');
    } else this.#firstGrain = Math.min(this.#firstGrain, position);
    this.#use(position + (compressed ? needed : grainBytes));
  }

  /** After all grains of the window were marked. */
  countUnused(window: UsedSectors): void {
    const { headEnd } = this.#check;
    const { places, areas } = this.#tables;
    for (const { sector, length } of areas) window.add(sector, length);
    window.add(0, headEnd / sectorBytes);
    for (const place of places) window.add(place, places.tableSectors);
    const end = Math.ceil(this.usedEnd / sectorBytes);
    const stop = Math.max(window.first, Math.min(window.end, end));
    this.#unusedSectors += stop - window.first - window.countBefore(stop);
  }

  reportEarly(): void {
    const { file, findings, headEnd } = this.#check;
    if (this.#firstGrain >= headEnd) return;
    const text = `its header says that grains begin at ${headEnd}, but one is at ${this.#firstGrain}`;
    findings.add('noted', file.name, text, overHeadOffset);
  }

  reportUnused(): void {
    const { file, findings, grainBytes } = this.#check;
    const end = alignUp(this.usedEnd, sectorBytes);
    if (file.size > end) {
      findings.add('tail-unused', file.name, `the last ${file.size - end} bytes belong to nothing`, end);
    }
    const lost = this.#unusedSectors * sectorBytes;
    if (lost < grainBytes) return;
    const text = `${lost} bytes among the grains belong to nothing; a copy is smaller`;
    findings.add('grains-lost', file.name, text);
  }
}

/** True where a grain cannot be. */
export function isInTables({ places, areas }: CheckedTables, range: SectorRange): boolean {
  return (
    places.touched(range.sector, range.length) !== undefined || areas.some((area) => overlap(area, range))
  );
}
