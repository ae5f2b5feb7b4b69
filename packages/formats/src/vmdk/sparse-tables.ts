/**
 * The grain directory and grain tables of a sparse extent: u32 entries, little-endian, sectors of the file
 * (VMware Virtual Disk Format 5.0, "Grain Directory", "Grain Table"; the same for hosted sparse and COWD).
 *
 *   directory entry   0: no table, none of its grains is here; otherwise where the table is
 *   table entry       0: not here; 1: zeros, where the extent says so; otherwise where the grain is
 *
 * A hosted extent may have everything twice. The second copy is used where the first one names what cannot be.
 */
import { endianness } from 'node:os';
import { alignUp, FormatError, PrimaError } from '@prima/base';
import type { DiskFile } from './disk-file.ts';
import { sectorBytes } from './hosted-header.ts';
import { TableCache } from './table-cache.ts';

export interface TableLayout {
  file: DiskFile;
  /** Where the directories are, sectors; the first one is preferred, the second one a copy with tables of its own. */
  directories: readonly number[];
  entriesPerTable: number;
  tableCount: number;
  /** Tables that lie in a hole of the file are said not to be there; only for reading. */
  skipHoles?: boolean;
  /** Told once for each kind of damage that a copy made good. */
  note: (text: string) => void;
}

/** A part of the directory. */
export interface DirectoryPage {
  /** As they are in the file, one array for each directory. */
  copies: Uint32Array[];
  /** What to go by. */
  use: Uint32Array;
}

/** What a sparse layer needs to know; entries are sectors, 0 not here, 1 zeros (where the extent says so). */
export interface GrainTables {
  readonly entriesPerTable: number;
  /** The table, undefined when there is none; a promise when it has to be read. */
  table(index: number): ArrayLike<number> | undefined | Promise<ArrayLike<number> | undefined>;
  /** How many tables from `index` on, which `table` has said is none, are known not to be there; at least 1. */
  missingFrom(index: number): number;
  /** Where the entry of a grain is in the file, bytes, for messages. */
  entryOffset(grain: number): number;
}

export const pageEntries = 4096;
const pageLimit = 64;
const cacheBytes = 8 * 1024 * 1024;
/** Tables that lie one after the other are read together. */
const tablesPerRead = 32;
const swapped = endianness() === 'BE';

export class SparseTables<L extends TableLayout = TableLayout> implements GrainTables {
  readonly entriesPerTable: number;
  /** Bytes of a table in the file. */
  readonly tableBytes: number;
  protected readonly layout: L;
  protected readonly pages: TableCache<DirectoryPage>;
  protected readonly tables: TableCache<Uint32Array>;
  readonly #noted = new Set<string>();

  constructor(layout: L) {
    this.layout = layout;
    this.entriesPerTable = layout.entriesPerTable;
    this.tableBytes = alignUp(layout.entriesPerTable * 4, sectorBytes);
    this.pages = new TableCache({
      limit: pageLimit,
      load: async (index) => new Map([[index, await this.#loadPage(index)]]),
    });
    this.tables = new TableCache({
      limit: Math.max(16, Math.floor(cacheBytes / this.tableBytes)),
      load: (index) => this.#loadTables(index),
    });
  }

  table(index: number): Uint32Array | undefined | Promise<Uint32Array | undefined> {
    const table = this.tables.peek(index);
    if (table !== undefined) return table;
    const page = this.pages.peek(Math.floor(index / pageEntries));
    if (page !== undefined && page.use[index % pageEntries] === 0) return undefined;
    return this.#find(index);
  }

  async #find(index: number): Promise<Uint32Array | undefined> {
    const page = await this.pages.get(Math.floor(index / pageEntries));
    return page.use[index % pageEntries] === 0 ? undefined : this.tables.get(index);
  }

  missingFrom(index: number): number {
    const use = this.pages.peek(Math.floor(index / pageEntries))?.use;
    if (use === undefined) return 1;
    let at = index % pageEntries;
    const first = at;
    while (at < use.length && use[at] === 0) at += 1;
    return Math.max(1, at - first);
  }

  entryOffset(grain: number): number {
    const index = Math.floor(grain / this.entriesPerTable);
    const sector = this.pages.peek(Math.floor(index / pageEntries))?.use[index % pageEntries] ?? 0;
    return sector * sectorBytes + (grain % this.entriesPerTable) * 4;
  }

  /** Where the directories are, sectors. */
  get directories(): readonly number[] {
    return this.layout.directories;
  }

  /** Where each directory says that a table is, sectors; whatever they say. */
  async placesOf(index: number): Promise<number[]> {
    const { copies } = await this.pages.get(Math.floor(index / pageEntries));
    return copies.map((copy) => copy[index % pageEntries] ?? 0);
  }

  /** Where a directory's entry for a table is in the file, bytes. */
  directoryOffset(which: number, index: number): number {
    return (this.layout.directories[which] ?? 0) * sectorBytes + index * 4;
  }

  /** The table at a sector for which `isTable` holds, as it is in the file. */
  readTable(sector: number): Promise<Uint32Array> {
    return this.#readEntries(sector * sectorBytes, this.entriesPerTable);
  }

  /** A table as it is in the file. */
  bytesOf(entries: Uint32Array): Buffer {
    const bytes = Buffer.alloc(this.tableBytes);
    bytes.set(new Uint8Array(entries.buffer, entries.byteOffset, entries.byteLength));
    return swapped ? bytes.swap32() : bytes;
  }

  async #loadPage(index: number): Promise<DirectoryPage> {
    const { directories, tableCount } = this.layout;
    const first = index * pageEntries;
    const count = Math.min(pageEntries, tableCount - first);
    const copies = await Promise.all(
      directories.map((sector, which) => this.#readDirectory(sector * sectorBytes + first * 4, count, which)),
    );
    const [primary = new Uint32Array(count), copy] = copies;
    if (copy === undefined) return { copies, use: await this.#withoutHoles(primary) };
    const use = Uint32Array.from(primary);
    for (let at = 0; at < count; at += 1) {
      const mine = primary[at] ?? 0;
      const other = copy[at] ?? 0;
      if ((mine !== 0 && this.isTable(mine)) || other === 0 || !this.isTable(other)) continue;
      use[at] = other;
      this.#noteOnce('the grain directory is damaged; its copy is used');
    }
    return { copies, use };
  }

  /** A new redo log has all its tables, and nothing in them: gigabytes where the disk is large. */
  async #withoutHoles(entries: Uint32Array): Promise<Uint32Array> {
    if (!this.layout.skipHoles) return entries;
    const use = Uint32Array.from(entries);
    const step = this.tableBytes / sectorBytes;
    for (let at = 0; at < entries.length; ) {
      const first = entries[at] ?? 0;
      let count = 1;
      while (entries[at + count] === first + count * step) count += 1;
      if (count >= tablesPerRead && this.isTable(first + (count - 1) * step)) {
        const range = { offset: first * sectorBytes, length: count * this.tableBytes };
        for await (const { offset, length, kind } of this.layout.file.extents(range)) {
          if (kind === 'data') continue;
          const from = Math.ceil((offset - range.offset) / this.tableBytes);
          const to = Math.floor((offset + length - range.offset) / this.tableBytes);
          if (from < to) use.fill(0, at + from, at + to);
        }
      }
      at += count;
    }
    return use;
  }

  async #readDirectory(offset: number, count: number, which: number): Promise<Uint32Array> {
    const { file, directories } = this.layout;
    const spare = directories.length > 1;
    if (offset + count * 4 > file.size) {
      if (spare) {
        this.#noteOnce(`grain directory ${which + 1} lies beyond the end of the file; the other one is used`);
        return new Uint32Array(count);
      }
      throw this.broken('the grain directory lies beyond the end of the file', offset);
    }
    try {
      return await this.#readEntries(offset, count);
    } catch (error) {
      if (!spare || !isReadError(error)) throw error;
      this.#noteOnce(`grain directory ${which + 1} cannot be read; the other one is used`);
      return new Uint32Array(count);
    }
  }

  async #readEntries(offset: number, count: number): Promise<Uint32Array<ArrayBuffer>> {
    const entries = new Uint32Array(count);
    const bytes = Buffer.from(entries.buffer);
    await this.layout.file.read(offset, bytes);
    if (swapped) bytes.swap32();
    return entries;
  }

  /** True when a table may be at this sector. */
  isTable(sector: number): boolean {
    return sector > 0 && sector * sectorBytes + this.tableBytes <= this.layout.file.size;
  }

  async #loadTables(index: number): Promise<Map<number, Uint32Array>> {
    const { use } = await this.pages.get(Math.floor(index / pageEntries));
    const at = index % pageEntries;
    const sector = use[at] ?? 0;
    if (!this.isTable(sector)) {
      const entry = this.directoryOffset(0, index);
      throw this.broken(
        `the grain table ${index} is said to be at sector ${sector}, where no table can be`,
        entry,
      );
    }
    const step = this.tableBytes / sectorBytes;
    let count = 1;
    while (count < tablesPerRead && use[at + count] === sector + count * step) count += 1;
    while (count > 1 && !this.isTable(sector + (count - 1) * step)) count -= 1;
    const tables = await this.#readTables(index, sector, count);
    for (const [number, table] of tables) await this.#mend(number, table);
    return tables;
  }

  async #readTables(index: number, sector: number, count: number): Promise<Map<number, Uint32Array>> {
    const stride = this.tableBytes / 4;
    try {
      const entries = await this.#readEntries(sector * sectorBytes, count * stride);
      const cut = (n: number) => entries.slice(n * stride, n * stride + this.entriesPerTable);
      return new Map(Array.from({ length: count }, (_, n) => [index + n, cut(n)]));
    } catch (error) {
      const copy = isReadError(error) ? await this.#copyOf(index, sector) : undefined;
      if (copy === undefined) throw error;
      this.#noteOnce('a grain table cannot be read; its copy is used');
      return new Map([[index, copy]]);
    }
  }

  /** Takes from the copy what in the table cannot be true. */
  async #mend(index: number, table: Uint32Array): Promise<void> {
    const limit = Math.ceil(this.layout.file.size / sectorBytes);
    if (table.every((entry) => entry < limit)) return;
    const { use } = await this.pages.get(Math.floor(index / pageEntries));
    const copy = await this.#copyOf(index, use[index % pageEntries] ?? 0);
    if (copy === undefined) return; // who reads such a grain is told
    for (const [at, entry] of table.entries()) {
      const other = copy[at] ?? 0;
      if (entry >= limit && other < limit) table[at] = other;
    }
    this.#noteOnce('a grain table is damaged; its copy is used');
  }

  /** The table that the other directory names for the same grains, if it can be read. */
  async #copyOf(index: number, notAt: number): Promise<Uint32Array | undefined> {
    const { copies } = await this.pages.get(Math.floor(index / pageEntries));
    const sector = copies
      .map((copy) => copy[index % pageEntries] ?? 0)
      .find((s) => s !== notAt && this.isTable(s));
    if (sector === undefined) return undefined;
    try {
      return await this.readTable(sector);
    } catch (error) {
      if (isReadError(error)) return undefined;
      throw error;
    }
  }

  #noteOnce(text: string): void {
    if (this.#noted.has(text)) return;
    this.#noted.add(text);
    this.layout.note(`${this.layout.file.name}: ${text}; have it repaired`);
  }

  protected broken(what: string, offset: number): FormatError {
    const { name } = this.layout.file;
    return new FormatError(`${name}: ${what} (offset ${offset})`, { details: { path: name, offset } });
  }
}

function isReadError(error: unknown): boolean {
  return error instanceof PrimaError && error.code === 'io';
}
