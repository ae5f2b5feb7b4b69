/**
 * seSparse, the sparse extent of disks above 2 TB on VMFS-5 and of every snapshot on VMFS-6; read only. There is no
 * published specification: the layout is QEMU's (block/vmdk.c) and that of a file that ESX wrote.
 *
 *   sector 0: u64 each, little-endian
 *      0 magic 0xCAFEBABE         8 version 0x0000000200000001   16 capacity   24 grainSize 8   32 grainTableSize 64
 *     40 flags 0                 48 four reserved, then offset and size, in sectors, of
 *     80 volatile header         96 journal header    112 journal    128 grain directory   144 grain tables
 *    160 free bitmap            176 backmap           192 grains
 *   volatile header: 0 magic 0xCAFECAFE   8 free table   16 next transaction   24 replayJournal
 *
 *   directory entry  0, or 0x10000000 in its upper half and the table's number in its lower
 *   table entry      4096 u64 a table; its top nibble says what the grain is: 0 not here, 1 unmapped, 2 zeros, 3 data;
 *                    the number of a data grain is split: bits 48 … 59 are its lower 12, bits 0 … 47 the others
 *
 * Readers disagree about 1 (unmapped by the guest): it is zeros here, as in QEMU.
 */
import { FormatError, PrimaError } from '@prima/base';
import { capacityLimitSectors } from './descriptor.ts';
import type { DiskFile } from './disk-file.ts';
import { sectorBytes } from './hosted-header.ts';
import type { GrainTables } from './sparse-tables.ts';
import { TableCache } from './table-cache.ts';

/** All in sectors. */
export interface SeSparseHeader {
  capacity: number;
  grainSize: number;
  volatileOffset: number;
  directoryOffset: number;
  directorySize: number;
  tablesOffset: number;
  tablesSize: number;
  grainsOffset: number;
  grainsSize: number;
}

const magic = 0xcafebaben;
const volatileMagic = 0xcafecafen;
const version = 0x0000000200000001n;
const tableEntries = 4096;
const tableSectors = 64;

export function isSeSparse(bytes: Uint8Array): boolean {
  return bytes.length >= 8 && viewOf(bytes).readBigUInt64LE(0) === magic;
}

/** @param bytes the first 512 bytes. Raises `format` with the offset, `unsupported` for another version. */
export function parseSeSparseHeader(bytes: Uint8Array, name: string): SeSparseHeader {
  const view = viewOf(bytes);
  if (view.length < sectorBytes) throw broken(name, `it ends after ${view.length} bytes of its header`, 0);
  if (view.readBigUInt64LE(0) !== magic) throw broken(name, 'the magic of an seSparse extent is missing', 0);
  const found = view.readBigUInt64LE(8);
  if (found !== version) {
    throw new PrimaError(
      'unsupported',
      `${name}: its seSparse version is 0x${found.toString(16)}, not 0x200000001`,
      {
        details: { offset: 8 },
      },
    );
  }
  const sectors = (offset: number) => {
    const value = view.readBigUInt64LE(offset);
    if (value > BigInt(capacityLimitSectors)) throw broken(name, `the value ${value} is too large`, offset);
    return Number(value);
  };
  const wanted: [string, number, number][] = [
    ['grainSize', 24, 8],
    ['grainTableSize', 32, tableSectors],
    ['flags', 40, 0],
  ];
  for (const [field, offset, value] of wanted) {
    const is = sectors(offset);
    if (is !== value) throw broken(name, `${field} is ${is}, ${value} was wanted`, offset);
  }
  return {
    capacity: sectors(16),
    grainSize: 8,
    volatileOffset: sectors(80),
    directoryOffset: sectors(128),
    directorySize: sectors(136),
    tablesOffset: sectors(144),
    tablesSize: sectors(152),
    grainsOffset: sectors(192),
    grainsSize: sectors(200),
  };
}

/** Raises `state` when the journal holds changes that only ESX can bring in. */
export function checkVolatileHeader(bytes: Uint8Array, name: string, at: number): void {
  const view = viewOf(bytes);
  if (view.readBigUInt64LE(0) !== volatileMagic)
    throw broken(name, 'the magic of the volatile header is missing', at);
  if (view.readBigUInt64LE(24) === 0n) return;
  throw new PrimaError(
    'state',
    `${name}: its journal holds changes that are not in its tables yet (it was not closed properly); open and close ` +
      'it on an ESXi host, for instance by "vmkfstools -x repair", then try again',
    { details: { path: name, offset: at + 24 } },
  );
}

export class SeSparseTables implements GrainTables {
  readonly entriesPerTable = tableEntries;
  readonly #file: DiskFile;
  readonly #header: SeSparseHeader;
  readonly #tableCount: number;
  readonly #directory: TableCache<Float64Array>;
  readonly #tables: TableCache<Float64Array>;

  constructor(file: DiskFile, header: SeSparseHeader) {
    this.#file = file;
    this.#header = header;
    this.#tableCount = Math.ceil(header.capacity / (tableEntries * header.grainSize));
    this.#directory = new TableCache({
      limit: 32,
      load: async (page) => new Map([[page, await this.#loadDirectory(page)]]),
    });
    this.#tables = new TableCache({
      limit: 256,
      load: async (index) => new Map([[index, await this.#loadTable(index)]]),
    });
    if (this.#tableCount * 8 > header.directorySize * sectorBytes) {
      throw broken(file.name, `its directory has no room for ${this.#tableCount} tables`, 136);
    }
  }

  table(index: number): Float64Array | undefined | Promise<Float64Array | undefined> {
    const table = this.#tables.peek(index);
    if (table !== undefined) return table;
    const page = this.#directory.peek(Math.floor(index / tableEntries));
    if (page !== undefined && page[index % tableEntries] === 0) return undefined;
    return this.#find(index);
  }

  async #find(index: number): Promise<Float64Array | undefined> {
    const page = await this.#directory.get(Math.floor(index / tableEntries));
    return page[index % tableEntries] === 0 ? undefined : this.#tables.get(index);
  }

  missingFrom(index: number): number {
    const page = this.#directory.peek(Math.floor(index / tableEntries)) ?? [];
    let at = index % tableEntries;
    while (page[at] === 0) at += 1;
    return Math.max(1, at - (index % tableEntries));
  }

  entryOffset(grain: number): number {
    const index = Math.floor(grain / tableEntries);
    const sector = this.#directory.peek(Math.floor(index / tableEntries))?.[index % tableEntries] ?? 0;
    return sector * sectorBytes + (grain % tableEntries) * 8;
  }

  /** Sectors of tables, 0 for none. */
  async #loadDirectory(page: number): Promise<Float64Array> {
    const { directoryOffset, tablesOffset, tablesSize } = this.#header;
    const first = page * tableEntries;
    const at = directoryOffset * sectorBytes + first * 8;
    const words = await this.#read(at, Math.min(tableEntries, this.#tableCount - first), 'grain directory');
    return decoded(words, (low, high, entry) => {
      if (low === 0 && high === 0) return 0;
      const number = high === 0x10000000 ? low : Number.POSITIVE_INFINITY;
      if ((number + 1) * tableSectors <= tablesSize) return tablesOffset + number * tableSectors;
      const found = `0x${high.toString(16)}${low.toString(16).padStart(8, '0')}`;
      throw broken(this.#file.name, `the directory's entry ${first + entry} is ${found}`, at + entry * 8);
    });
  }

  /** Sectors of grains; 0 not here, 1 zeros. */
  async #loadTable(index: number): Promise<Float64Array> {
    const page = await this.#directory.get(Math.floor(index / tableEntries));
    const at = (page[index % tableEntries] ?? 0) * sectorBytes;
    const words = await this.#read(at, tableEntries, 'grain table');
    const { grainsOffset, grainsSize, grainSize } = this.#header;
    return decoded(words, (low, high, entry) => {
      const kind = high >>> 28;
      if (kind === 0) return 0;
      if (kind === 1 || kind === 2) return 1;
      const number = ((high >>> 16) & 0xfff) + ((high & 0xffff) * 2 ** 32 + low) * 4096;
      if (kind === 3 && (number + 1) * grainSize <= grainsSize) return grainsOffset + number * grainSize;
      const found = `0x${high.toString(16)}${low.toString(16).padStart(8, '0')}`;
      throw broken(this.#file.name, `entry ${entry} of grain table ${index} is ${found}`, at + entry * 8);
    });
  }

  async #read(at: number, entries: number, what: string): Promise<Buffer> {
    const bytes = Buffer.alloc(entries * 8);
    if (at + bytes.length > this.#file.size) {
      throw broken(this.#file.name, `the ${what} lies beyond the end of the file`, at);
    }
    await this.#file.read(at, bytes);
    return bytes;
  }
}

function decoded(words: Buffer, decode: (low: number, high: number, entry: number) => number): Float64Array {
  const values = new Float64Array(words.length / 8);
  for (let entry = 0; entry < values.length; entry += 1) {
    values[entry] = decode(words.readUInt32LE(entry * 8), words.readUInt32LE(entry * 8 + 4), entry);
  }
  return values;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function broken(name: string, what: string, offset: number): FormatError {
  return new FormatError(`${name}: ${what} (offset ${offset})`, { details: { path: name, offset } });
}
