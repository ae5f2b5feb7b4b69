/**
 * Makes a hosted sparse extent larger (hosted-header.ts). Its directories and tables stand before its grains, so larger ones
 * need the room of the first grains:
 *
 *   1. grains in that room are copied to the end of the file; fsync
 *   2. the tables in the file name the copies: all entries, in both copies of the tables, or none; fsync
 *   3. directories and tables for the new size are written where the grains were; fsync
 *   4. the caller writes the new header over the old one: a sector, the old extent or the new one
 *
 * After a crash between any two of them the extent is what it was. The old tables' room is not used any more; it is a few
 * millionths of the disk.
 */
import { alignDown, alignUp, assert, FormatError, PrimaError, throwIfAborted } from '@prima/base';
import type { WritableDiskFile } from './disk-file.ts';
import { hostedDataStart, readHostedHeader } from './hosted-extent.ts';
import { HostedFlags, type HostedHeader, sectorBytes, writeHostedHeader } from './hosted-header.ts';
import { readUpTo } from './read-file.ts';

export interface GrowOptions {
  /** Sectors, more than it has. */
  capacity: number;
  signal?: AbortSignal;
}

const entryBytes = 4;
const sectorLimit = 2 ** 32;

/** A sector of the file, before and after. */
export interface SectorChange {
  offset: number;
  old: Buffer;
  fresh: Buffer;
}

/**
 * Steps 1 and 2: what the caller changes, all of it or nothing, so that the room of the new tables is free. Raises
 * `unsupported` for compressed extents and odd layouts.
 */
export async function makeRoomForTables(
  file: WritableDiskFile,
  { capacity, signal }: GrowOptions,
): Promise<SectorChange[]> {
  const header = await readGrowable(file);
  const shape = shapeOf(header, capacity);
  if (shape.tables === tablesFor(header, header.capacity)) return [];
  const entries = await readEntries(file, header, shape);
  const moves = await copyGrains(file, { header, shape, entries, signal });
  return redirected(file, header, moves);
}

/** Steps 3 and 4, once there is room: the change of the header that makes the extent larger. */
export async function writeTablesForGrowth(
  file: WritableDiskFile,
  { capacity }: GrowOptions,
): Promise<SectorChange> {
  const old = await readUpTo(file, 0, sectorBytes);
  const header = await readGrowable(file);
  const shape = shapeOf(header, capacity);
  if (shape.tables === tablesFor(header, header.capacity)) {
    return { offset: 0, old, fresh: changed(old, { ...header, capacity }) };
  }
  const entries = await readEntries(file, header, shape);
  assert(
    entries.every((sector) => !isInRoom(sector, header, shape)),
    `${file.name} has no grains where its tables will be`,
  );
  if (file.size < shape.end * sectorBytes) await file.resize(shape.end * sectorBytes);
  const grown = await writeTables(file, { header, shape, entries, capacity });
  return { offset: 0, old, fresh: changed(old, grown) };
}

async function readGrowable(file: WritableDiskFile): Promise<HostedHeader> {
  const header = await readHostedHeader(file, () => undefined);
  if ((header.flags & HostedFlags.compressed) === 0) return header;
  throw new PrimaError('unsupported', `${file.name} is compressed, which is written once; convert it first`);
}

interface Shape {
  /** Of one copy: how many tables, and the sectors of the directory, a table, both together. */
  tables: number;
  directorySectors: number;
  tableSectors: number;
  copySectors: number;
  copies: number;
  /** Sectors that the new tables take. */
  start: number;
  end: number;
}

function tablesFor({ grainSize, numGTEsPerGT }: HostedHeader, capacity: number): number {
  return Math.ceil(capacity / (grainSize * numGTEsPerGT));
}

function shapeOf(header: HostedHeader, capacity: number): Shape {
  const { numGTEsPerGT, grainSize } = header;
  const tables = tablesFor(header, capacity);
  const directorySectors = Math.ceil((tables * entryBytes) / sectorBytes);
  const tableSectors = Math.ceil((numGTEsPerGT * entryBytes) / sectorBytes);
  const copySectors = directorySectors + tables * tableSectors;
  const directories = directoriesOf(header);
  const copies = directories.length;
  const start = hostedDataStart(header, directories) / sectorBytes;
  const end = alignUp(start + copies * copySectors, grainSize);
  return { tables, directorySectors, tableSectors, copySectors, copies, start, end };
}

/** All entries of the present tables, and room for the new ones, in the order of the disk. */
async function readEntries(file: WritableDiskFile, header: HostedHeader, shape: Shape): Promise<Uint32Array> {
  const entries = new Uint32Array(shape.tables * header.numGTEsPerGT);
  const tables = await tablePlaces(file, header.gdOffset ?? 0, header);
  for (const [index, sector] of tables.entries()) {
    if (sector >= shape.start) {
      throw new PrimaError(
        'unsupported',
        `${file.name}: its table ${index} is at sector ${sector}, among its grains; convert the disk to extend it`,
      );
    }
    const bytes = await readUpTo(file, sector * sectorBytes, header.numGTEsPerGT * entryBytes);
    if (bytes.length < header.numGTEsPerGT * entryBytes) throw cutOff(file, sector);
    for (let at = 0; at < header.numGTEsPerGT; at += 1)
      entries[index * header.numGTEsPerGT + at] = bytes.readUInt32LE(at * entryBytes);
  }
  return entries;
}

async function tablePlaces(
  file: WritableDiskFile,
  directory: number,
  header: HostedHeader,
): Promise<number[]> {
  const count = tablesFor(header, header.capacity);
  const bytes = await readUpTo(file, directory * sectorBytes, count * entryBytes);
  if (directory === 0 || bytes.length < count * entryBytes) throw cutOff(file, directory);
  return Array.from({ length: count }, (_, index) => {
    const sector = bytes.readUInt32LE(index * entryBytes);
    if (sector === 0) throw cutOff(file, directory);
    return sector;
  });
}

function cutOff(file: WritableDiskFile, sector: number): FormatError {
  const offset = sector * sectorBytes;
  return new FormatError(`${file.name}: its tables are not whole (offset ${offset}); check the disk`, {
    details: { path: file.name, offset },
  });
}

interface Growing {
  header: HostedHeader;
  shape: Shape;
  entries: Uint32Array;
  signal?: AbortSignal | undefined;
}

interface Move {
  /** Of the entry that names the grain. */
  index: number;
  /** Where it is a copy of. */
  sector: number;
}

/** Copies to the end of the file what is in the room of the new tables, durably. */
async function copyGrains(
  file: WritableDiskFile,
  { header, shape, entries, signal }: Growing,
): Promise<Move[]> {
  const { grainSize } = header;
  const moves: Move[] = [];
  let end = Math.max(alignUp(Math.ceil(file.size / sectorBytes), grainSize), shape.end);
  const grain = new Uint8Array(grainSize * sectorBytes);
  for (const [index, sector] of entries.entries()) {
    if (!isInRoom(sector, header, shape)) continue;
    throwIfAborted(signal, `growing ${file.name}`);
    if (end + grainSize > sectorLimit)
      throw new PrimaError('no-space', `${file.name} cannot grow beyond 2 TiB`);
    const bytes = await readUpTo(file, sector * sectorBytes, grain.length);
    grain.fill(0);
    grain.set(bytes);
    await file.write(end * sectorBytes, grain);
    moves.push({ index, sector: end });
    end += grainSize;
  }
  await file.flush();
  return moves;
}

function isInRoom(sector: number, { flags }: HostedHeader, { end }: Shape): boolean {
  const firstGrain = (flags & HostedFlags.zeroedGrains) === 0 ? 1 : 2;
  return sector >= firstGrain && sector < end;
}

/** The sectors of the tables, in all copies, that name other places then. */
async function redirected(
  file: WritableDiskFile,
  header: HostedHeader,
  moves: readonly Move[],
): Promise<SectorChange[]> {
  const changes = new Map<number, SectorChange>();
  for (const directory of directoriesOf(header)) {
    const tables = await tablePlaces(file, directory, header);
    for (const { index, sector } of moves) {
      const table = tables[Math.floor(index / header.numGTEsPerGT)] ?? 0;
      const place = table * sectorBytes + (index % header.numGTEsPerGT) * entryBytes;
      const offset = alignDown(place, sectorBytes);
      let change = changes.get(offset);
      if (change === undefined) {
        const old = await readUpTo(file, offset, sectorBytes);
        change = { offset, old, fresh: Buffer.from(old) };
        changes.set(offset, change);
      }
      change.fresh.writeUInt32LE(sector, place - offset);
    }
  }
  return [...changes.values()];
}

function directoriesOf({ flags, gdOffset = 0, rgdOffset }: HostedHeader): number[] {
  const isDouble = (flags & HostedFlags.redundantTables) !== 0 && rgdOffset !== 0;
  return isDouble ? [gdOffset, rgdOffset] : [gdOffset];
}

/** Writes the new directories and tables, durably; the header that names them. */
async function writeTables(
  file: WritableDiskFile,
  { header, shape, entries, capacity }: Growing & { capacity: number },
): Promise<HostedHeader> {
  const { start, copies, copySectors, directorySectors, tableSectors, tables, end } = shape;
  const perTable = header.numGTEsPerGT;
  for (let copy = 0; copy < copies; copy += 1) {
    const at = start + copy * copySectors;
    const body = Buffer.alloc(copySectors * sectorBytes);
    for (let table = 0; table < tables; table += 1) {
      const sector = directorySectors + table * tableSectors;
      body.writeUInt32LE(at + sector, table * entryBytes);
      for (let entry = 0; entry < perTable; entry += 1) {
        const place = sector * sectorBytes + entry * entryBytes;
        body.writeUInt32LE(entries[table * perTable + entry] ?? 0, place);
      }
    }
    await file.write(at * sectorBytes, body);
  }
  await file.flush();
  const second = start + (copies - 1) * copySectors;
  return {
    ...header,
    capacity,
    rgdOffset: copies === 2 ? start : header.rgdOffset,
    gdOffset: second,
    overHead: end,
  };
}

/** The header's fields in the bytes that were read, so that what is unknown stays. */
function changed(old: Buffer, header: HostedHeader): Buffer {
  const fresh = Buffer.from(old);
  writeHostedHeader(header).copy(fresh, 0, 0, 79);
  return fresh;
}
