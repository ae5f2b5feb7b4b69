/**
 * Grain tables that are changed in memory and written together. What may be in the file at which moment is for the
 * layer to say (writable-sparse-layer.ts); here is what has to be written, from copies taken at one moment.
 */
import { endianness } from 'node:os';
import { assert } from '@prima/base';
import type { WritableDiskFile } from './disk-file.ts';
import { sectorBytes } from './hosted-header.ts';
import { pageEntries, SparseTables, type TableLayout } from './sparse-tables.ts';

export interface WritableTableLayout extends TableLayout {
  file: WritableDiskFile;
}

/** Bytes that belong at `offset` in the file. */
export interface TablePiece {
  offset: number;
  bytes: Buffer;
}

export interface TableChanges {
  /** Tables that no directory in the file names yet: they may be written at any time. */
  fresh: TablePiece[];
  /** Tables that are in use, in all their copies, and the directories: only after what they name is durable. */
  rest: TablePiece[];
  tables: ReadonlySet<number>;
  pages: ReadonlySet<number>;
  freshTables: ReadonlySet<number>;
}

/** Tables one after the other are written together, up to this many bytes. */
const pieceLimit = 1024 * 1024;

export class WritableTables extends SparseTables {
  declare protected readonly layout: WritableTableLayout;
  #dirtyTables = new Set<number>();
  #dirtyPages = new Set<number>();
  /** Tables that the directory in the file does not name yet. */
  #fresh = new Set<number>();
  readonly #making = new Map<number, Promise<Uint32Array>>();

  get dirtyBytes(): number {
    return this.#dirtyTables.size * this.tableBytes + this.#dirtyPages.size * pageEntries * 4;
  }

  /**
   * Sets the entries of `count` grains from `first` on to `sector`, `sector + step` …
   * @param allocate gives room for a new table in the file, a sector
   */
  async assign(
    grains: { first: number; count: number },
    { sector, step }: { sector: number; step: number },
    allocate: (bytes: number) => number,
  ): Promise<void> {
    const { entriesPerTable } = this;
    const end = grains.first + grains.count;
    for (let grain = grains.first; grain < end; ) {
      const index = Math.floor(grain / entriesPerTable);
      const table = await this.#forWriting(index, allocate);
      const stop = Math.min(end, (index + 1) * entriesPerTable);
      for (; grain < stop; grain += 1) {
        table[grain % entriesPerTable] = sector + (grain - grains.first) * step;
      }
      this.#dirtyTables.add(index);
      this.tables.pin(index);
    }
  }

  async #forWriting(index: number, allocate: (bytes: number) => number): Promise<Uint32Array> {
    const found = this.table(index);
    const table = found instanceof Promise ? await found : found;
    if (table === undefined) {
      const making =
        this.#making.get(index) ?? this.#make(index, allocate).finally(() => this.#making.delete(index));
      this.#making.set(index, making);
      await making;
      return this.#forWriting(index, allocate);
    }
    const { copies } = await this.pages.get(Math.floor(index / pageEntries));
    for (const [which, copy] of copies.entries()) {
      if (this.isTable(copy[index % pageEntries] ?? 0) || this.#fresh.has(index)) continue;
      const entry = this.directoryOffset(which, index);
      throw this.broken(
        `grain directory ${which + 1} names no table for number ${index}: repair it first`,
        entry,
      );
    }
    // another one may have taken its place while we waited
    const current = this.tables.peek(index);
    if (current !== undefined) return current;
    this.tables.put(index, table);
    return table;
  }

  async #make(index: number, allocate: (bytes: number) => number): Promise<Uint32Array> {
    const number = Math.floor(index / pageEntries);
    const page = await this.pages.get(number);
    for (const copy of page.copies) copy[index % pageEntries] = allocate(this.tableBytes);
    page.use[index % pageEntries] = page.copies[0]?.[index % pageEntries] ?? 0;
    const table = new Uint32Array(this.entriesPerTable);
    this.tables.put(index, table);
    this.#dirtyTables.add(index);
    this.tables.pin(index);
    this.#dirtyPages.add(number);
    this.pages.pin(number);
    this.#fresh.add(index);
    return table;
  }

  /** Copies of all that was changed; from here on it counts as written, until `restore` says otherwise. */
  take(): TableChanges {
    const [tables, pages, freshTables] = [this.#dirtyTables, this.#dirtyPages, this.#fresh];
    const fresh: TablePiece[] = [];
    const rest: TablePiece[] = [];
    for (const index of tables) {
      const table = this.tables.peek(index);
      assert(table !== undefined, `the changed table ${index} is kept`);
      const bytes = this.bytesOf(table);
      const { copies = [] } = this.pages.peek(Math.floor(index / pageEntries)) ?? {};
      assert(copies.length > 0, `the page of a changed table ${index} is kept`);
      for (const copy of copies) {
        const piece = { offset: (copy[index % pageEntries] ?? 0) * sectorBytes, bytes };
        (freshTables.has(index) ? fresh : rest).push(piece);
      }
    }
    for (const number of pages) {
      for (const [which, copy] of (this.pages.peek(number)?.copies ?? []).entries()) {
        rest.push({ offset: this.directoryOffset(which, number * pageEntries), bytes: entryBytes(copy) });
      }
    }
    this.#dirtyTables = new Set();
    this.#dirtyPages = new Set();
    this.#fresh = new Set();
    return { fresh, rest, tables, pages, freshTables };
  }

  /** It is in the file. */
  settle({ tables, pages }: TableChanges): void {
    for (const index of tables) if (!this.#dirtyTables.has(index)) this.tables.release(index);
    for (const number of pages) if (!this.#dirtyPages.has(number)) this.pages.release(number);
  }

  /** Writing failed: all of it is still to be written. */
  restore({ tables, pages, freshTables }: TableChanges): void {
    for (const index of tables) this.#dirtyTables.add(index);
    for (const number of pages) this.#dirtyPages.add(number);
    for (const index of freshTables) this.#fresh.add(index);
  }

  async write(pieces: readonly TablePiece[]): Promise<void> {
    for (const { offset, bytes } of joined(pieces)) await this.layout.file.write(offset, bytes);
  }
}

function entryBytes(entries: Uint32Array): Buffer {
  const bytes = Buffer.from(
    entries.buffer.slice(entries.byteOffset, entries.byteOffset + entries.byteLength),
  );
  return endianness() === 'BE' ? bytes.swap32() : bytes;
}

/** Neighbours as one. */
function* joined(pieces: readonly TablePiece[]): Generator<TablePiece> {
  const sorted = pieces.toSorted((a, b) => a.offset - b.offset);
  let group: TablePiece[] = [];
  let length = 0;
  const whole = () => ({
    offset: group[0]?.offset ?? 0,
    bytes: Buffer.concat(group.map(({ bytes }) => bytes)),
  });
  for (const piece of sorted) {
    const start = group[0]?.offset ?? piece.offset;
    if (group.length > 0 && (start + length !== piece.offset || length + piece.bytes.length > pieceLimit)) {
      yield whole();
      group = [];
      length = 0;
    }
    group.push(piece);
    length += piece.bytes.length;
  }
  if (group.length > 0) yield whole();
}
