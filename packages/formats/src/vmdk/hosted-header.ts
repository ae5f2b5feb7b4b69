/**
 * The header of a hosted sparse extent, magic `KDMV`: monolithicSparse, twoGbMaxExtentSparse, streamOptimized
 * (VMware Virtual Disk Format 5.0, "Hosted Sparse Extents"). 512 bytes, little-endian, packed; sectors are 512 bytes.
 *
 *    0  u32  magic "KDMV"             44  u32  numGTEsPerGT       512
 *    4  u32  version                  48  u64  rgdOffset          redundant grain directory, sectors
 *    8  u32  flags                    56  u64  gdOffset           all ones: see the footer
 *   12  u64  capacity, sectors        64  u64  overHead           sectors before the first grain
 *   20  u64  grainSize, sectors       72  u8   uncleanShutdown
 *   28  u64  descriptorOffset         73  4    0A 20 0D 0A        shows damage by a transfer as text
 *   36  u64  descriptorSize           77  u16  compressAlgorithm  0 none, 1 deflate
 */
import { FormatError, PrimaError } from '@prima/base';
import { capacityLimitSectors } from './descriptor.ts';

export const hostedHeaderBytes = 512;
export const sectorBytes = 512;

export const HostedFlags = {
  validNewLine: 1 << 0,
  redundantTables: 1 << 1,
  zeroedGrains: 1 << 2,
  compressed: 1 << 16,
  markers: 1 << 17,
} as const;

export const COMPRESSION_NONE = 0;
export const COMPRESSION_DEFLATE = 1;

export interface HostedHeader {
  version: number;
  flags: number;
  /** Sectors, as all that follows. */
  capacity: number;
  /** A power of two; 128 (64 KiB) where nobody chose. */
  grainSize: number;
  /** 0: there is no embedded descriptor. */
  descriptorOffset: number;
  descriptorSize: number;
  numGTEsPerGT: number;
  /** 0: there is no redundant grain directory. */
  rgdOffset: number;
  /** Undefined: the footer tells (GD_AT_END). */
  gdOffset?: number;
  overHead: number;
  uncleanShutdown: boolean;
  compressAlgorithm: number;
}

const magic = 0x564d444b;
const gdAtEnd = 0xffffffffffffffffn;
const newLine = Buffer.from('\n \r\n', 'latin1');
/** 16 MiB. Grains are copied through memory; the specification has no limit, nobody writes more than 1 MiB. */
export const grainLimitSectors = 32_768;
/** QEMU refuses more than 512, which is what the specification says; a few more do no harm. */
const tableEntriesLimit = 4096;

export function isHostedHeader(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && viewOf(bytes).readUInt32LE(0) === magic;
}

/**
 * @param bytes the first 512 bytes, or those of the footer
 * @param at where they are in the file, for `details.offset` of the `format` errors. Raises `unsupported` for a newer
 * version or another compression.
 */
export function parseHostedHeader(bytes: Uint8Array, name: string, at = 0): HostedHeader {
  const view = viewOf(bytes);
  const fail = (what: string, offset: number) => broken(name, what, at + offset);
  if (view.length < hostedHeaderBytes) throw fail(`it ends after ${view.length} bytes of its header`, 0);
  if (view.readUInt32LE(0) !== magic) throw fail('the magic KDMV is missing', 0);
  const header = readFields(view, fail);
  if (header.version < 1 || header.version > 3) {
    throw new PrimaError('unsupported', `${name}: its version is ${header.version}; Prima reads 1 to 3`, {
      details: { offset: at + 4 },
    });
  }
  checkFields(header, fail);
  if ((header.flags & HostedFlags.validNewLine) !== 0 && !view.subarray(73, 77).equals(newLine)) {
    throw fail(
      'its line-end bytes are changed: it was transferred as text; copy it again in binary mode',
      73,
    );
  }
  return header;
}

type Fail = (what: string, offset: number) => FormatError;

function readFields(view: Buffer, fail: Fail): HostedHeader {
  const sectors = (offset: number): number => {
    const value = view.readBigUInt64LE(offset);
    if (value > BigInt(capacityLimitSectors)) throw fail(`the value ${value} is too large`, offset);
    return Number(value);
  };
  const atEnd = view.readBigUInt64LE(56) === gdAtEnd;
  return {
    version: view.readUInt32LE(4),
    flags: view.readUInt32LE(8),
    capacity: sectors(12),
    grainSize: sectors(20),
    descriptorOffset: sectors(28),
    descriptorSize: sectors(36),
    numGTEsPerGT: view.readUInt32LE(44),
    rgdOffset: sectors(48),
    ...(atEnd ? {} : { gdOffset: sectors(56) }),
    overHead: sectors(64),
    uncleanShutdown: view[72] !== 0,
    compressAlgorithm: view.readUInt16LE(77),
  };
}

function checkFields(header: HostedHeader, fail: Fail): void {
  const { grainSize, numGTEsPerGT, flags, compressAlgorithm } = header;
  if (!isPowerOfTwo(grainSize) || grainSize > grainLimitSectors) {
    throw fail(`grainSize is ${grainSize}, a power of two up to ${grainLimitSectors} was wanted`, 20);
  }
  if (!isPowerOfTwo(numGTEsPerGT) || numGTEsPerGT > tableEntriesLimit) {
    throw fail(`numGTEsPerGT is ${numGTEsPerGT}, 512 was wanted`, 44);
  }
  if ((flags & HostedFlags.compressed) !== 0 && compressAlgorithm !== COMPRESSION_DEFLATE) {
    throw fail(`compressAlgorithm is ${compressAlgorithm}, 1 (deflate) was wanted`, 77);
  }
}

/** The 512 bytes of a header (or of the footer's copy). */
export function writeHostedHeader(header: HostedHeader): Buffer {
  const view = Buffer.alloc(hostedHeaderBytes);
  view.writeUInt32LE(magic, 0);
  view.writeUInt32LE(header.version, 4);
  view.writeUInt32LE(header.flags, 8);
  const sectors: [number, number][] = [
    [12, header.capacity],
    [20, header.grainSize],
    [28, header.descriptorOffset],
    [36, header.descriptorSize],
    [48, header.rgdOffset],
    [64, header.overHead],
  ];
  for (const [offset, value] of sectors) view.writeBigUInt64LE(BigInt(value), offset);
  view.writeUInt32LE(header.numGTEsPerGT, 44);
  view.writeBigUInt64LE(header.gdOffset === undefined ? gdAtEnd : BigInt(header.gdOffset), 56);
  view[72] = header.uncleanShutdown ? 1 : 0;
  newLine.copy(view, 73);
  view.writeUInt16LE(header.compressAlgorithm, 77);
  return view;
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function broken(name: string, what: string, offset: number): FormatError {
  return new FormatError(`${name}: ${what} (offset ${offset})`, { details: { offset } });
}
