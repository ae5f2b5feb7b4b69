/**
 * The superblock of ext2, ext3 and ext4 (Linux, Documentation/filesystems/ext4: "Super Block"), 1024 bytes at offset 1024,
 * little-endian. Read here:
 *
 *   0 inodes   4 blocks (hi 336)   12 free blocks (hi 344)   20 first data block   24 log2 block size - 10
 *   28 log2 cluster size - 10   32 blocks, 36 clusters, 40 inodes a group   56 magic EF53   58 state   76 revision
 *   88 inode size   92 compatible, 96 incompatible, 100 read-only compatible features   104 UUID
 *   206 reserved GDT blocks   224 journal's inode   232 last orphan   254 descriptor size   260 first meta group
 *   360 block of multiple mount protection   373 kind of checksum   404 errors   588 groups with backups
 *   624 checksum seed   1020 checksum
 */
import { FormatError } from '@prima/base';
import { crc32c } from '../crc.ts';

export interface ExtSuperblock {
  blocks: number;
  freeBlocks: number;
  inodes: number;
  blockSize: number;
  /** Blocks in a cluster, the unit of allocation; 1 without bigalloc. */
  clusterBlocks: number;
  firstDataBlock: number;
  blocksPerGroup: number;
  inodesPerGroup: number;
  inodeSize: number;
  groups: number;
  descriptorBytes: number;
  compatible: number;
  incompatible: number;
  readOnly: number;
  uuid: Buffer;
  /** What CRC-32C begins with; undefined where structures have none. */
  seed?: number;
  state: number;
  errors: number;
  lastOrphan: number;
  reservedGdtBlocks: number;
  firstMetaGroup: number;
  backupGroups: [number, number];
  journalInode: number;
  mountProtectionBlock: number;
}

export const extSuperblockOffset = 1024;
export const extSuperblockBytes = 1024;

/** Features of the three kinds, by the names that mke2fs has for them. */
export const compatible = { hasJournal: 0x4, sparseSuper2: 0x200 } as const;
export const incompatible = {
  recover: 0x4,
  metaBg: 0x10,
  extents: 0x40,
  bits64: 0x80,
  mmp: 0x100,
  csumSeed: 0x2000,
} as const;
export const readOnly = { sparseSuper: 0x1, gdtCsum: 0x10, bigalloc: 0x200, metadataCsum: 0x400 } as const;

const mostGroups = 2 ** 22;

/** @param bytes exactly 1024. Raises `format` with the offset in it. */
export function parseExtSuperblock(bytes: Buffer): ExtSuperblock {
  if (bytes.length !== extSuperblockBytes)
    throw new FormatError(`a superblock has 1024 bytes, not ${bytes.length}`);
  if (bytes.readUInt16LE(56) !== 0xef53) fail(56, 'no ext2, ext3 or ext4');
  if (bytes.readUInt32LE(76) > 1) fail(76, `revision ${bytes.readUInt32LE(76)}`);
  const isOld = bytes.readUInt32LE(76) === 0;
  const [compat = 0, incompat = 0, roCompat = 0] = [92, 96, 100].map((at) =>
    isOld ? 0 : bytes.readUInt32LE(at),
  );
  const superblock: ExtSuperblock = {
    ...geometry(bytes, { incompat, roCompat, isOld }),
    compatible: compat,
    incompatible: incompat,
    readOnly: roCompat,
    inodes: bytes.readUInt32LE(0),
    uuid: Buffer.from(bytes.subarray(104, 120)),
    state: bytes.readUInt16LE(58),
    errors: bytes.readUInt32LE(404),
    lastOrphan: bytes.readUInt32LE(232),
    reservedGdtBlocks: bytes.readUInt16LE(206),
    firstMetaGroup: bytes.readUInt32LE(260),
    backupGroups: [bytes.readUInt32LE(588), bytes.readUInt32LE(592)],
    journalInode: bytes.readUInt32LE(224),
    mountProtectionBlock: number64(bytes, 360, 364),
  };
  if ((roCompat & readOnly.metadataCsum) === 0) return superblock;
  if (bytes.readUInt8(373) !== 1) fail(373, `checksums of kind ${bytes.readUInt8(373)}`);
  if (crc32c(0xffff_ffff, bytes.subarray(0, 1020)) !== bytes.readUInt32LE(1020))
    fail(1020, 'a wrong checksum');
  const hasSeed = (incompat & incompatible.csumSeed) !== 0;
  return { ...superblock, seed: hasSeed ? bytes.readUInt32LE(624) : crc32c(0xffff_ffff, superblock.uuid) };
}

type Geometry = Pick<
  ExtSuperblock,
  | 'blocks'
  | 'freeBlocks'
  | 'blockSize'
  | 'clusterBlocks'
  | 'firstDataBlock'
  | 'blocksPerGroup'
  | 'inodesPerGroup'
  | 'inodeSize'
  | 'groups'
  | 'descriptorBytes'
>;

function geometry(
  bytes: Buffer,
  { incompat, roCompat, isOld }: { incompat: number; roCompat: number; isOld: boolean },
): Geometry {
  const is64 = (incompat & incompatible.bits64) !== 0;
  const [shift, clusterShift] = [bytes.readUInt32LE(24), bytes.readUInt32LE(28)];
  if (shift > 6) fail(24, `blocks of 2^${shift + 10} bytes`);
  const isBig = (roCompat & readOnly.bigalloc) !== 0;
  if (isBig && (clusterShift < shift || clusterShift > 20))
    fail(28, `clusters of 2^${clusterShift + 10} bytes`);
  const blockSize = 1024 << shift;
  const clusterBlocks = isBig ? 2 ** (clusterShift - shift) : 1;
  const blocks = is64 ? number64(bytes, 4, 336) : bytes.readUInt32LE(4);
  const firstDataBlock = bytes.readUInt32LE(20);
  if (firstDataBlock !== (blockSize === 1024 && !isBig ? 1 : 0))
    fail(20, `the first data block ${firstDataBlock}`);
  const [blocksPerGroup, clustersPerGroup] = [
    bytes.readUInt32LE(32),
    isBig ? bytes.readUInt32LE(36) : bytes.readUInt32LE(32),
  ];
  if (clustersPerGroup < 8 || clustersPerGroup > blockSize * 8 || clustersPerGroup % 8 !== 0)
    fail(36, `${clustersPerGroup} clusters a group`);
  if (blocksPerGroup !== clustersPerGroup * clusterBlocks) fail(32, `${blocksPerGroup} blocks a group`);
  if (blocks <= firstDataBlock || blocks * blockSize > 2 ** 52) fail(4, `${blocks} blocks`);
  const groups = Math.ceil((blocks - firstDataBlock) / blocksPerGroup);
  if (groups > mostGroups) fail(4, `${groups} groups`);
  const inodeSize = isOld ? 128 : bytes.readUInt16LE(88);
  if (inodeSize < 128 || inodeSize > blockSize || !Number.isInteger(Math.log2(inodeSize)))
    fail(88, `inodes of ${inodeSize} bytes`);
  const inodesPerGroup = bytes.readUInt32LE(40);
  if (inodesPerGroup === 0 || inodesPerGroup > blockSize * 8) fail(40, `${inodesPerGroup} inodes a group`);
  const descriptorBytes = is64 ? bytes.readUInt16LE(254) : 32;
  if (
    descriptorBytes < 32 ||
    descriptorBytes > 1024 ||
    !Number.isInteger(Math.log2(descriptorBytes)) ||
    (is64 && descriptorBytes < 64)
  ) {
    fail(254, `group descriptors of ${descriptorBytes} bytes`);
  }
  const freeBlocks = is64 ? number64(bytes, 12, 344) : bytes.readUInt32LE(12);
  return {
    blocks,
    freeBlocks,
    blockSize,
    clusterBlocks,
    firstDataBlock,
    blocksPerGroup,
    inodesPerGroup,
    inodeSize,
    groups,
    descriptorBytes,
  };
}

/** Two halves; more than 2^53 is not below any limit that follows. */
function number64(bytes: Buffer, low: number, high: number): number {
  return bytes.readUInt32LE(high) * 2 ** 32 + bytes.readUInt32LE(low);
}

function fail(offset: number, found: string): never {
  throw new FormatError(`the superblock has ${found} at byte ${offset}`, { details: { offset } });
}
