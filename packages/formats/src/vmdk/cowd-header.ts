/**
 * The header of an ESX sparse extent, magic `COWD`: vmfsSparse deltas, and the redo logs (`.REDO`) of ESX 2, which have
 * no descriptor (VMware Virtual Disk Format 5.0, "ESX Server Sparse Extents"). 2048 bytes, little-endian.
 *
 *     0  "COWD"                  16  u32 grainSize, sectors      32  root disk: u32 cylinders, heads, sectors
 *     4  u32 version 1           20  u32 gdOffset, sectors           child disk: parentFileName[1024],
 *     8  u32 flags 3             24  u32 numGDEntries                1056 u32 parentGeneration
 *    12  u32 numSectors          28  u32 freeSector
 *  1060  u32 generation        1064  name[60]    1124  description[512]   1636  u32 savedGeneration
 *  1640  reserved              1648  u32 uncleanShutdown
 *
 * Grain tables have 4096 entries and are allocated among the grains; there is one copy, and no entry for zeros.
 */
import { FormatError, PrimaError } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';

export const cowdHeaderBytes = 2048;
export const cowdTableEntries = 4096;
export const cowdFreeSectorOffset = 28;
export const cowdUncleanOffset = 1648;
/** Where a child names its parent, and the room for the name with the NUL at its end. */
export const cowdParentNameOffset = 32;
export const cowdParentNameBytes = 1024;
/** 1 MiB, which is what the specification allows. */
export const cowdGrainLimit = 2048;

export interface CowdHeader {
  flags: number;
  /** Of the disk. */
  numSectors: number;
  grainSize: number;
  gdOffset: number;
  numGDEntries: number;
  /** The next sector to allocate; others do not keep it up to date. */
  freeSector: number;
  /** Of a root disk. */
  geometry?: { cylinders: number; heads: number; sectors: number };
  /** Of a child disk. */
  parent?: { fileName: string; generation: number };
  generation: number;
  name: string;
  description: string;
  savedGeneration: number;
  uncleanShutdown: boolean;
}

export function isCowd(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).toString('latin1', 0, 4) === 'COWD';
}

/** @param bytes the first 2048 bytes. Raises `format` with the offset, `unsupported` for another version. */
export function parseCowdHeader(bytes: Uint8Array, name: string): CowdHeader {
  const view = viewOf(bytes);
  const broken = (what: string, offset: number) =>
    new FormatError(`${name}: ${what} (offset ${offset})`, { details: { path: name, offset } });
  if (view.length < cowdHeaderBytes) throw broken(`it ends after ${view.length} bytes of its header`, 0);
  if (!isCowd(view)) throw broken('the magic COWD is missing', 0);
  const version = view.readUInt32LE(4);
  if (version !== 1) {
    throw new PrimaError('unsupported', `${name}: its COWD version is ${version}; Prima reads 1`, {
      details: { offset: 4 },
    });
  }
  const header = readFields(view);
  const { grainSize, gdOffset, numGDEntries, numSectors } = header;
  if (grainSize < 1 || grainSize > cowdGrainLimit) {
    throw broken(`grainSize is ${grainSize}, 1 to ${cowdGrainLimit} sectors were wanted`, 16);
  }
  if (gdOffset < cowdHeaderBytes / sectorBytes)
    throw broken(`gdOffset is ${gdOffset}, inside of the header`, 20);
  const tables = cowdTableCount(numSectors, grainSize);
  if (numGDEntries < tables) throw broken(`numGDEntries is ${numGDEntries}, ${tables} were wanted`, 24);
  return header;
}

/** How many grain tables a disk has. */
export function cowdTableCount(numSectors: number, grainSize: number): number {
  return Math.ceil(numSectors / (cowdTableEntries * grainSize));
}

function readFields(view: Buffer): CowdHeader {
  const u32 = (offset: number) => view.readUInt32LE(offset);
  const parentFileName = text(view, 32, 1024);
  const isChild = looksLikeName(parentFileName, view);
  return {
    flags: u32(8),
    numSectors: u32(12),
    grainSize: u32(16),
    gdOffset: u32(20),
    numGDEntries: u32(24),
    freeSector: u32(cowdFreeSectorOffset),
    ...(isChild ? { parent: { fileName: parentFileName, generation: u32(1056) } } : {}),
    ...(isChild || u32(32) === 0
      ? {}
      : { geometry: { cylinders: u32(32), heads: u32(36), sectors: u32(40) } }),
    generation: u32(1060),
    name: text(view, 1064, 60),
    description: text(view, 1124, 512),
    savedGeneration: u32(1636),
    uncleanShutdown: u32(cowdUncleanOffset) !== 0,
  };
}

/** Nothing says which of the two lies at 32: a number of cylinders is no text, or a single letter with heads behind it. */
function looksLikeName(name: string, view: Buffer): boolean {
  if (!/^\P{Cc}+$/u.test(name)) return false;
  return name.length >= 4 || view.readUInt32LE(36) === 0;
}

/** The 2048 bytes of a header. */
export function writeCowdHeader(header: CowdHeader): Buffer {
  const view = Buffer.alloc(cowdHeaderBytes);
  view.write('COWD', 0, 'latin1');
  const { geometry, parent } = header;
  const words: [number, number][] = [
    [4, 1],
    [8, header.flags],
    [12, header.numSectors],
    [16, header.grainSize],
    [20, header.gdOffset],
    [24, header.numGDEntries],
    [cowdFreeSectorOffset, header.freeSector],
    [1056, parent?.generation ?? 0],
    [1060, header.generation],
    [1636, header.savedGeneration],
    [cowdUncleanOffset, header.uncleanShutdown ? 1 : 0],
  ];
  for (const [offset, value] of words) view.writeUInt32LE(value, offset);
  if (geometry && !parent) {
    view.writeUInt32LE(geometry.cylinders, 32);
    view.writeUInt32LE(geometry.heads, 36);
    view.writeUInt32LE(geometry.sectors, 40);
  }
  // the last byte of each stays zero: readers look for it
  if (parent) view.write(parent.fileName, 32, 1023);
  view.write(header.name, 1064, 59);
  view.write(header.description, 1124, 511);
  return view;
}

function text(view: Buffer, offset: number, length: number): string {
  const bytes = view.subarray(offset, offset + length);
  const end = bytes.indexOf(0);
  return bytes.toString('utf8', 0, end === -1 ? length : end);
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
