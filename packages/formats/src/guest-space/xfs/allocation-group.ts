/**
 * The free space of one allocation group of XFS (XFS Algorithms and Data Structures, "AG Free Space Management"),
 * big-endian. Its header AGF, the second sector:
 *
 *   0 "XAGF"   4 version 1   8 group   12 blocks   16 root of the tree by block, 20 by size   28, 32 their levels
 *   48 blocks in the free list   52 free blocks   56 longest run   60 blocks of trees   64 UUID   216 CRC-32C
 *
 * A block of either tree: 0 magic, 4 level u16, 6 records u16, 8 left, 12 right sibling; in version 5 also 16 own
 * address u64, 24 LSN, 32 UUID, 48 group, 52 CRC-32C. Then records or keys, of 8 bytes: first block, blocks; in a
 * node, after room for as many keys as fit, pointers of 4 bytes.
 */
import { FormatError } from '@prima/base';
import { type MetadataReader, refuse } from '../metadata-reader.ts';
import { assertChecksum, type XfsSuperblock } from './superblock.ts';

export interface FreeSpaceHeader {
  blocks: number;
  roots: { byBlock: number; bySize: number };
  levels: { byBlock: number; bySize: number };
  free: number;
  inFreeList: number;
  longest: number;
  inTrees: number;
}

export interface FreeRun {
  first: number;
  blocks: number;
}

/** More levels than 2^32 blocks need. */
const mostLevels = 9;
const nullBlock = 0xffff_ffff;

/** @param bytes one sector. Raises `format`. */
export function parseFreeSpaceHeader(
  bytes: Buffer,
  group: number,
  superblock: XfsSuperblock,
): FreeSpaceHeader {
  const what = `the header of allocation group ${group}`;
  if (superblock.version === 5) {
    assertChecksum(bytes, 216, what);
    if (!bytes.subarray(64, 80).equals(superblock.uuid))
      throw new FormatError(`${what} is of another file system`);
  }
  const header = {
    blocks: bytes.readUInt32BE(12),
    roots: { byBlock: bytes.readUInt32BE(16), bySize: bytes.readUInt32BE(20) },
    levels: { byBlock: bytes.readUInt32BE(28), bySize: bytes.readUInt32BE(32) },
    inFreeList: bytes.readUInt32BE(48),
    free: bytes.readUInt32BE(52),
    longest: bytes.readUInt32BE(56),
    inTrees: bytes.readUInt32BE(60),
  };
  const isLast = group === superblock.groups - 1;
  const blocks = isLast ? superblock.blocks - group * superblock.groupBlocks : superblock.groupBlocks;
  const isRight =
    bytes.toString('latin1', 0, 4) === 'XAGF' &&
    bytes.readUInt32BE(4) === 1 &&
    bytes.readUInt32BE(8) === group &&
    header.blocks === blocks;
  const levels = Object.values(header.levels);
  if (!isRight || levels.some((level) => level < 1 || level > mostLevels))
    throw new FormatError(`${what} is damaged`);
  return header;
}

interface TreeBlock {
  level: number;
  left: number;
  right: number;
  records: FreeRun[];
  /** Of a node: one a key. */
  children: number[];
}

interface Place {
  group: number;
  /** Block in the group. */
  block: number;
  tree: 'byBlock' | 'bySize';
}

const magics = {
  byBlock: { 4: 'ABTB', 5: 'AB3B' },
  bySize: { 4: 'ABTC', 5: 'AB3C' },
} as const;

/** @param bytes one block. Raises `format`. */
export function parseTreeBlock(
  bytes: Buffer,
  superblock: XfsSuperblock,
  { group, block, tree }: Place,
): TreeBlock {
  const { version, blockSize, groupBlocks, uuid } = superblock;
  const what = `block ${block} of the free-space tree of group ${group}`;
  const damaged = (why: string): never => {
    throw new FormatError(`${what} ${why}`, { details: { offset: 0 } });
  };
  if (bytes.toString('latin1', 0, 4) !== magics[tree][version]) damaged('is none');
  if (version === 5) {
    assertChecksum(bytes, 52, what);
    const address = ((group * groupBlocks + block) * blockSize) / 512;
    const isOwn = Number(bytes.readBigUInt64BE(16)) === address && bytes.readUInt32BE(48) === group;
    if (!isOwn || !bytes.subarray(32, 48).equals(uuid)) damaged('is of another place');
  }
  const start = version === 5 ? 56 : 16;
  const [level, count] = [bytes.readUInt16BE(4), bytes.readUInt16BE(6)];
  const most = Math.floor((blockSize - start) / (level === 0 ? 8 : 12));
  if (count > most) damaged(`has ${count} entries, ${most} at most`);
  const records: FreeRun[] = [];
  const children: number[] = [];
  for (let i = 0; i < count; i += 1) {
    records.push({ first: bytes.readUInt32BE(start + i * 8), blocks: bytes.readUInt32BE(start + i * 8 + 4) });
    if (level > 0) children.push(bytes.readUInt32BE(start + most * 8 + i * 4));
  }
  return { level, left: bytes.readUInt32BE(8), right: bytes.readUInt32BE(12), records, children };
}

/**
 * The runs of one of a group's trees, in the tree's order. Every link is checked: levels, siblings, first keys. Raises
 * `format` or `refused`.
 */
export async function* freeRuns(
  reader: MetadataReader,
  superblock: XfsSuperblock,
  { group, tree, header }: { group: number; tree: Place['tree']; header: FreeSpaceHeader },
): AsyncGenerator<FreeRun> {
  const { blockSize, groupBlocks } = superblock;
  const levels = header.levels[tree];
  /** The right sibling that the last block of each level named. */
  const expected = new Map<number, number>();
  /** The last block of each level. */
  const lastOf = new Map<number, number>();
  let visited = 0;
  async function* walk(block: number, level: number, key?: FreeRun): AsyncGenerator<FreeRun> {
    visited += 1;
    if (block >= header.blocks || visited > header.blocks)
      refuse(`a free-space tree of group ${group} leaves it`);
    const bytes = await reader.read((group * groupBlocks + block) * blockSize, blockSize);
    const node = parseTreeBlock(bytes, superblock, { group, block, tree });
    const [first] = node.records;
    const isKey =
      key === undefined ||
      (first?.first === key.first && (tree === 'byBlock' || first.blocks === key.blocks));
    const isLinked =
      (expected.get(level) ?? block) === block && node.left === (lastOf.get(level) ?? nullBlock);
    if (node.level !== level || !isKey || !isLinked)
      refuse(`a free-space tree of group ${group} contradicts itself`);
    expected.set(level, node.right);
    lastOf.set(level, block);
    if (level === 0) yield* node.records;
    for (const [i, child] of node.children.entries()) yield* walk(child, level - 1, node.records[i]);
  }
  yield* walk(header.roots[tree], levels - 1);
  for (const right of expected.values()) {
    if (right !== nullBlock) refuse(`a free-space tree of group ${group} does not end`);
  }
}
