/**
 * Block groups of ext2, ext3 and ext4 and their descriptors (Linux, Documentation/filesystems/ext4: "Block Group
 * Descriptors", "Meta Block Groups"). A descriptor, little-endian:
 *
 *   0 block bitmap (hi 32)   4 inode bitmap (hi 36)   8 inode table (hi 40)   12 free blocks u16 (hi 44)
 *   18 flags: 1 inodes, 2 block bitmap not written yet   24 checksum of the block bitmap, low half (hi 56)   30 checksum
 */
import { FormatError, type Range } from '@prima/base';
import { crc16, crc32c } from '../crc.ts';
import type { MetadataReader } from '../metadata-reader.ts';
import { compatible, type ExtSuperblock, incompatible, readOnly } from './superblock.ts';

export interface GroupDescriptor {
  /** Block numbers in the file system. */
  blockBitmap: number;
  inodeBitmap: number;
  inodeTable: number;
  /** Clusters. */
  free: number;
  /** The bitmap was never written: what is used follows from the layout. */
  isBlockUninit: boolean;
  /** Of the bitmap; as many bits as `bitmapChecksumMask` has. */
  bitmapChecksum: number;
  bitmapChecksumMask: number;
}

/** @param bytes one descriptor. Raises `format` when its checksum is wrong or it points outside. */
export function parseGroupDescriptor(
  bytes: Buffer,
  group: number,
  superblock: ExtSuperblock,
): GroupDescriptor {
  const is64 = (superblock.incompatible & incompatible.bits64) !== 0;
  assertChecksum(bytes, group, superblock);
  const block = (low: number, high: number) =>
    (is64 ? bytes.readUInt32LE(high) * 2 ** 32 : 0) + bytes.readUInt32LE(low);
  const flags = bytes.readUInt16LE(18);
  const descriptor = {
    blockBitmap: block(0, 32),
    inodeBitmap: block(4, 36),
    inodeTable: block(8, 40),
    free: bytes.readUInt16LE(12) + (is64 ? bytes.readUInt16LE(44) * 65_536 : 0),
    isBlockUninit: (flags & 2) !== 0,
    bitmapChecksum: (bytes.readUInt16LE(24) + (is64 ? bytes.readUInt16LE(56) * 65_536 : 0)) >>> 0,
    bitmapChecksumMask: is64 ? 0xffff_ffff : 0xffff,
  };
  const last = descriptor.inodeTable + inodeTableBlocks(superblock);
  const places = [descriptor.blockBitmap, descriptor.inodeBitmap, descriptor.inodeTable, last - 1];
  if (places.some((place) => place < superblock.firstDataBlock || place >= superblock.blocks)) {
    throw new FormatError(`the descriptor of group ${group} points outside`, {
      details: { offset: 0, group },
    });
  }
  const isChecked = superblock.seed !== undefined || (superblock.readOnly & readOnly.gdtCsum) !== 0;
  if (descriptor.isBlockUninit && (!isChecked || group === 0)) {
    throw new FormatError(`group ${group} says that its bitmap was not written`, {
      details: { offset: 18, group },
    });
  }
  return descriptor;
}

function assertChecksum(bytes: Buffer, group: number, { seed, uuid, ...superblock }: ExtSuperblock): void {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(group);
  const [head, tail] = [bytes.subarray(0, 30), bytes.subarray(32)];
  let wanted: number;
  if (seed !== undefined) {
    const upToField = crc32c(crc32c(seed, number), head);
    wanted = crc32c(crc32c(upToField, Buffer.alloc(2)), tail) & 0xffff;
  } else if ((superblock.readOnly & readOnly.gdtCsum) !== 0) {
    wanted = crc16(crc16(crc16(0xffff, uuid), number), head);
    if ((superblock.incompatible & incompatible.bits64) !== 0) wanted = crc16(wanted, tail);
  } else return;
  if (bytes.readUInt16LE(30) !== wanted) {
    throw new FormatError(`the descriptor of group ${group} has a wrong checksum`, {
      details: { offset: 30, group },
    });
  }
}

function inodeTableBlocks({ inodesPerGroup, inodeSize, blockSize }: ExtSuperblock): number {
  return Math.ceil((inodesPerGroup * inodeSize) / blockSize);
}

/** The group's first block. */
export function groupStart({ firstDataBlock, blocksPerGroup }: ExtSuperblock, group: number): number {
  return firstDataBlock + group * blocksPerGroup;
}

/** Blocks in the group; the last one may be short. */
export function groupBlocks(superblock: ExtSuperblock, group: number): number {
  return Math.min(superblock.blocksPerGroup, superblock.blocks - groupStart(superblock, group));
}

/** True when the group begins with a copy of the superblock. */
function hasSuperblock(superblock: ExtSuperblock, group: number): boolean {
  if (group === 0) return true;
  if ((superblock.compatible & compatible.sparseSuper2) !== 0) return superblock.backupGroups.includes(group);
  if (group === 1 || (superblock.readOnly & readOnly.sparseSuper) === 0) return true;
  return [3, 5, 7].some((base) => isPower(group, base));
}

function isPower(value: number, base: number): boolean {
  let power = base;
  while (power < value) power *= base;
  return power === value;
}

/** Blocks at the group's beginning for the superblock, descriptors, and descriptors to come. */
export function leadingBlocks(superblock: ExtSuperblock, group: number): number {
  const own = hasSuperblock(superblock, group) ? 1 : 0;
  const hasMeta = (superblock.incompatible & incompatible.metaBg) !== 0;
  const perBlock = descriptorsPerBlock(superblock);
  if (hasMeta && group >= superblock.firstMetaGroup * perBlock) {
    const place = group % perBlock;
    return own + (place === 0 || place === 1 || place === perBlock - 1 ? 1 : 0);
  }
  const table = hasMeta ? superblock.firstMetaGroup : Math.ceil(superblock.groups / perBlock);
  return own === 0 ? 0 : own + table + superblock.reservedGdtBlocks;
}

function descriptorsPerBlock({ blockSize, descriptorBytes }: ExtSuperblock): number {
  return blockSize / descriptorBytes;
}

/** All descriptors, in the order of the groups. Raises `format`. */
export async function* readGroupDescriptors(
  reader: MetadataReader,
  superblock: ExtSuperblock,
): AsyncGenerator<GroupDescriptor> {
  const { blockSize, descriptorBytes, groups } = superblock;
  const perBlock = descriptorsPerBlock(superblock);
  for (let i = 0; i * perBlock < groups; i += 1) {
    const bytes = await reader.read(descriptorBlock(superblock, i) * blockSize, blockSize);
    for (let k = 0; k < perBlock && i * perBlock + k < groups; k += 1) {
      const at = k * descriptorBytes;
      yield parseGroupDescriptor(bytes.subarray(at, at + descriptorBytes), i * perBlock + k, superblock);
    }
  }
}

/** Where the `i`th block of descriptors is. */
function descriptorBlock(superblock: ExtSuperblock, i: number): number {
  const { blockSize, firstDataBlock, firstMetaGroup } = superblock;
  // bigalloc with blocks of 1 KiB counts its groups from block 0, and yet has the superblock in block 1
  const shift = blockSize === 1024 && firstDataBlock === 0 ? 1 : 0;
  const isMeta = (superblock.incompatible & incompatible.metaBg) !== 0 && i >= firstMetaGroup;
  if (!isMeta) return firstDataBlock + shift + 1 + i;
  const group = i * descriptorsPerBlock(superblock);
  return groupStart(superblock, group) + (hasSuperblock(superblock, group) ? 1 : 0) + (i === 0 ? shift : 0);
}

/** The bitmap of a group whose own was never written: only what the layout puts there is used. */
export function layoutBitmap(superblock: ExtSuperblock, group: number, descriptor: GroupDescriptor): Buffer {
  const { blockSize, clusterBlocks, blocksPerGroup } = superblock;
  const bitmap = Buffer.alloc(blockSize);
  const start = groupStart(superblock, group);
  const use = ({ offset, length }: Range) => {
    for (
      let block = Math.max(offset, start);
      block < Math.min(offset + length, start + blocksPerGroup);
      block += 1
    ) {
      const cluster = Math.floor((block - start) / clusterBlocks);
      bitmap[cluster >> 3] = (bitmap[cluster >> 3] ?? 0) | (1 << (cluster & 7));
    }
  };
  use({ offset: start, length: leadingBlocks(superblock, group) });
  for (const range of ownBlocks(superblock, descriptor)) use(range);
  return bitmap;
}

/** The blocks of a group's own structures, wherever they are. */
export function ownBlocks(superblock: ExtSuperblock, descriptor: GroupDescriptor): Range[] {
  return [
    { offset: descriptor.blockBitmap, length: 1 },
    { offset: descriptor.inodeBitmap, length: 1 },
    { offset: descriptor.inodeTable, length: inodeTableBlocks(superblock) },
  ];
}
