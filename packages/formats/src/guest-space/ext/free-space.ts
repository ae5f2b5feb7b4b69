/** The free space of ext2, ext3 and ext4; docs/format/guest-space.md says what is checked, and why that is enough. */
import { FormatError, mergeRanges, type Range } from '@prima/base';
import { crc32c } from '../crc.ts';
import { assertApart, clearRuns, FreeRanges } from '../free-ranges.ts';
import { type MetadataReader, refuse } from '../metadata-reader.ts';
import { assertCleanSuperblock, assertEmptyJournal, assertNotMounted } from './clean.ts';
import {
  type GroupDescriptor,
  groupBlocks,
  groupStart,
  layoutBitmap,
  leadingBlocks,
  ownBlocks,
  readGroupDescriptors,
} from './groups.ts';
import {
  type ExtSuperblock,
  extSuperblockBytes,
  extSuperblockOffset,
  parseExtSuperblock,
} from './superblock.ts';

/** Bitmaps that lie one after another are read together, so many at most. */
const mostTogether = 64;

/** Free ranges, bytes from the partition's beginning. Raises `refused` or `format` with the reason why there are none. */
export async function extFreeSpace(reader: MetadataReader, smallest?: number): Promise<Range[]> {
  const superblock = parseExtSuperblock(await reader.read(extSuperblockOffset, extSuperblockBytes));
  const { blockSize, blocks, clusterBlocks, freeBlocks } = superblock;
  assertCleanSuperblock(superblock);
  if (blocks * blockSize > reader.length)
    refuse(`it has ${blocks * blockSize} bytes, its partition ${reader.length}`);
  await assertNotMounted(reader, superblock);
  const descriptors: GroupDescriptor[] = [];
  for await (const descriptor of readGroupDescriptors(reader, superblock)) descriptors.push(descriptor);
  await assertEmptyJournal(reader, superblock, descriptors[0]?.inodeTable ?? 0);
  const free = new FreeRanges(smallest);
  let used: Range[] = [];
  let clusters = 0;
  for await (const [group, bitmap] of bitmaps(reader, superblock, descriptors)) {
    const descriptor = descriptors[group];
    if (!descriptor) continue;
    clusters += addGroup(free, { superblock, group, bitmap, descriptor });
    used.push({ offset: groupStart(superblock, group), length: leadingBlocks(superblock, group) });
    used.push(...ownBlocks(superblock, descriptor));
    if (used.length > 100_000) used = mergeRanges(used);
  }
  if (clusters * clusterBlocks !== freeBlocks) {
    refuse(`its bitmaps have ${clusters * clusterBlocks} free blocks, its superblock says ${freeBlocks}`);
  }
  const ranges = free.list();
  const inBytes = used.map(({ offset, length }) => ({
    offset: offset * blockSize,
    length: length * blockSize,
  }));
  assertApart(ranges, [...inBytes, ...reader.ranges], 'structures of the file system');
  return ranges;
}

/** Adds a group's free clusters; how many there are. Raises when its descriptor says another number. */
function addGroup(
  free: FreeRanges,
  {
    superblock,
    group,
    bitmap,
    descriptor,
  }: { superblock: ExtSuperblock; group: number; bitmap: Buffer; descriptor: GroupDescriptor },
): number {
  const { blockSize, clusterBlocks, blocks } = superblock;
  const start = groupStart(superblock, group);
  let clusters = 0;
  for (const { first, end } of clearRuns(bitmap, Math.ceil(groupBlocks(superblock, group) / clusterBlocks))) {
    clusters += end - first;
    const from = start + first * clusterBlocks;
    const to = Math.min(start + end * clusterBlocks, blocks);
    free.add(from * blockSize, (to - from) * blockSize);
  }
  if (clusters !== descriptor.free) {
    refuse(
      `group ${group} has ${clusters} free clusters in its bitmap, its descriptor says ${descriptor.free}`,
    );
  }
  return clusters;
}

async function* bitmaps(
  reader: MetadataReader,
  superblock: ExtSuperblock,
  descriptors: readonly GroupDescriptor[],
): AsyncGenerator<[group: number, bitmap: Buffer]> {
  const { blockSize } = superblock;
  for (let group = 0; group < descriptors.length; ) {
    const first = descriptors[group];
    if (!first) return;
    if (first.isBlockUninit) {
      yield [group, layoutBitmap(superblock, group, first)];
      group += 1;
      continue;
    }
    let count = 1;
    while (count < mostTogether && follows(descriptors[group + count], first, count)) count += 1;
    const bytes = await reader.read(first.blockBitmap * blockSize, count * blockSize);
    for (let i = 0; i < count; i += 1) {
      const bitmap = bytes.subarray(i * blockSize, (i + 1) * blockSize);
      assertBitmapChecksum(bitmap, group + i, { superblock, descriptor: descriptors[group + i] });
      yield [group + i, bitmap];
    }
    group += count;
  }
}

function follows(next: GroupDescriptor | undefined, first: GroupDescriptor, distance: number): boolean {
  return next !== undefined && !next.isBlockUninit && next.blockBitmap === first.blockBitmap + distance;
}

function assertBitmapChecksum(
  bitmap: Buffer,
  group: number,
  { superblock, descriptor }: { superblock: ExtSuperblock; descriptor: GroupDescriptor | undefined },
): void {
  const { seed, blocksPerGroup, clusterBlocks } = superblock;
  if (seed === undefined || !descriptor) return;
  const found =
    crc32c(seed, bitmap.subarray(0, blocksPerGroup / clusterBlocks / 8)) & descriptor.bitmapChecksumMask;
  if (found >>> 0 === descriptor.bitmapChecksum) return;
  throw new FormatError(`the block bitmap of group ${group} has a wrong checksum`, { details: { group } });
}
