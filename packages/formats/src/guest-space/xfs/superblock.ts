/**
 * The superblock of XFS (XFS Algorithms and Data Structures, "Superblocks"), one sector, big-endian. Read here:
 *
 *   0 "XFSB"   4 block size   8 blocks   16 realtime blocks   32 UUID   48 first log block   84 blocks an allocation group
 *   88 groups   96 log blocks   100 version and features   102 sector size   104 inode size   120 log2 block size
 *   124 log2 of an allocation group, rounded up   126 being made   144 free blocks   196 log's stripe   200 more features
 *   208 compatible, 212 read-only compatible, 216 incompatible, 220 log incompatible features   224 CRC-32C, little-endian
 *   248 UUID in the structures, where that is another
 */
import { FormatError } from '@prima/base';
import { crc32c } from '../crc.ts';
import { refuse } from '../metadata-reader.ts';

export interface XfsSuperblock {
  version: 4 | 5;
  blockSize: number;
  blocks: number;
  freeBlocks: number;
  groupBlocks: number;
  groupBlocksLog: number;
  groups: number;
  sectorSize: number;
  /** Of the structures, not of the file system where the two differ. */
  uuid: Buffer;
  /** Block address with the group in its high bits; 0 for a log on another device. */
  logStart: number;
  logBlocks: number;
}

export const mostSectorBytes = 32_768;

/** finobt, rmapbt, reflink, inobtcount. */
const knownReadOnly = 0xf;
/** ftype, sparse inodes, meta UUID, big timestamps, large extent counters, exchange ranges, parent pointers. Not needsrepair. */
const knownIncompatible = 0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80;
const metaUuid = 0x4;
const needsRepair = 0x10;
/** Version 4's bit for features2, and there: free blocks counted by the groups. */
const moreBits = 0x8000;
const lazyCount = 0x2;

/** @param bytes from the partition's beginning. Raises `format` with the offset, `refused` for features not known. */
export function parseXfsSuperblock(bytes: Buffer): XfsSuperblock {
  if (bytes.length < 512) throw new FormatError(`a superblock has 512 bytes, not ${bytes.length}`);
  if (bytes.toString('latin1', 0, 4) !== 'XFSB') fail(0, 'no XFS');
  const sectorSize = bytes.readUInt16BE(102);
  if (!isPowerBetween(sectorSize, 512, Math.min(mostSectorBytes, bytes.length)))
    fail(102, `sectors of ${sectorSize} bytes`);
  const features = bytes.readUInt16BE(100);
  const version = features & 0xf;
  if (version !== 4 && version !== 5) fail(100, `version ${version}`);
  if (version === 5) assertChecksum(bytes.subarray(0, sectorSize), 224, 'the superblock');
  assertKnown(bytes, version, features);
  const superblock: XfsSuperblock = {
    version,
    sectorSize,
    blockSize: bytes.readUInt32BE(4),
    blocks: number64(bytes, 8),
    freeBlocks: number64(bytes, 144),
    groupBlocks: bytes.readUInt32BE(84),
    groupBlocksLog: bytes.readUInt8(124),
    groups: bytes.readUInt32BE(88),
    uuid: uuidOf(bytes, version),
    logStart: number64(bytes, 48),
    logBlocks: bytes.readUInt32BE(96),
  };
  assertGeometry(superblock);
  return superblock;
}

function uuidOf(bytes: Buffer, version: number): Buffer {
  const isOther = version === 5 && (bytes.readUInt32BE(216) & metaUuid) !== 0;
  return Buffer.from(isOther ? bytes.subarray(248, 264) : bytes.subarray(32, 48));
}

function assertKnown(bytes: Buffer, version: number, features: number): void {
  if (bytes.readUInt8(126) !== 0) refuse('it was never made to the end');
  if (number64(bytes, 16) !== 0) refuse('it has a realtime part');
  if (version === 4) {
    if ((features & moreBits) === 0 || (bytes.readUInt32BE(200) & lazyCount) === 0) {
      refuse('it is an old XFS whose groups do not count their free blocks');
    }
    return;
  }
  const [roCompat, incompat, logIncompat] = [212, 216, 220].map((at) => bytes.readUInt32BE(at));
  if (((incompat ?? 0) & needsRepair) !== 0) refuse('it says that it needs repair');
  const unknown = ((roCompat ?? 0) & ~knownReadOnly) | ((incompat ?? 0) & ~knownIncompatible);
  if (unknown !== 0) refuse(`it has features that Prima does not know: 0x${(unknown >>> 0).toString(16)}`);
  if (logIncompat !== 0) refuse('its log is in use');
}

function assertGeometry({
  blockSize,
  sectorSize,
  blocks,
  groupBlocks,
  groupBlocksLog,
  groups,
}: XfsSuperblock): void {
  if (!isPowerBetween(blockSize, Math.max(512, sectorSize), 65_536)) fail(4, `blocks of ${blockSize} bytes`);
  if (groupBlocks < 16 || groupBlocksLog > 31 || 2 ** groupBlocksLog < groupBlocks) {
    fail(84, `allocation groups of ${groupBlocks} blocks`);
  }
  if (blocks * blockSize > 2 ** 52 || groups !== Math.ceil(blocks / groupBlocks)) {
    fail(88, `${groups} allocation groups for ${blocks} blocks`);
  }
}

/** Raises `format` unless the CRC-32C at `at` (little-endian, counted as zero) is that of the bytes. */
export function assertChecksum(bytes: Buffer, at: number, what: string): void {
  const upTo = crc32c(0xffff_ffff, bytes.subarray(0, at));
  const found = ~crc32c(crc32c(upTo, Buffer.alloc(4)), bytes.subarray(at + 4)) >>> 0;
  if (found !== bytes.readUInt32LE(at))
    throw new FormatError(`${what} has a wrong checksum`, { details: { offset: at } });
}

/** Above 2^53 it is not exact, and above every limit. */
function number64(bytes: Buffer, at: number): number {
  return Number(bytes.readBigUInt64BE(at));
}

function isPowerBetween(value: number, least: number, most: number): boolean {
  return value >= least && value <= most && Number.isInteger(Math.log2(value));
}

function fail(offset: number, found: string): never {
  throw new FormatError(`the superblock has ${found} at byte ${offset}`, { details: { offset } });
}
