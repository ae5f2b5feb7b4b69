/** The free space of XFS; docs/format/guest-space.md says what is checked, and why that is enough. */
import { FormatError, type Range } from '@prima/base';
import { assertApart, FreeRanges } from '../free-ranges.ts';
import { type MetadataReader, refuse } from '../metadata-reader.ts';
import { type FreeRun, freeRuns, type FreeSpaceHeader, parseFreeSpaceHeader } from './allocation-group.ts';
import { assertCleanLog } from './log.ts';
import { mostSectorBytes, parseXfsSuperblock, type XfsSuperblock } from './superblock.ts';

/** Free ranges, bytes from the partition's beginning. Raises `refused` or `format` with the reason why there are none. */
export async function xfsFreeSpace(reader: MetadataReader, smallest?: number): Promise<Range[]> {
  const superblock = parseXfsSuperblock(await firstSector(reader));
  const { blocks, blockSize, groups, freeBlocks } = superblock;
  if (blocks * blockSize > reader.length)
    refuse(`it has ${blocks * blockSize} bytes, its partition ${reader.length}`);
  const log = logPlace(superblock);
  await assertCleanLog(reader, log);
  const free = new FreeRanges(smallest);
  const used: Range[] = [log];
  let total = 0;
  for (let group = 0; group < groups; group += 1) {
    const start = group * superblock.groupBlocks * blockSize;
    used.push({ offset: start, length: 4 * superblock.sectorSize });
    const sector = await reader.read(start + superblock.sectorSize, superblock.sectorSize);
    const header = parseFreeSpaceHeader(sector, group, superblock);
    await addGroup(free, { reader, superblock, group, header });
    total += header.free + header.inFreeList + header.inTrees;
  }
  if (total !== freeBlocks) refuse(`its groups have ${total} free blocks, its superblock says ${freeBlocks}`);
  const ranges = free.list();
  assertApart(ranges, [...used, ...reader.ranges], 'structures of the file system');
  return ranges;
}

/** The superblock says itself how large its sector is. */
async function firstSector(reader: MetadataReader): Promise<Buffer> {
  const head = await reader.read(0, 512);
  const size = head.readUInt16BE(102);
  return size > 512 && size <= mostSectorBytes ? await reader.read(0, size) : head;
}

function logPlace({
  logStart,
  logBlocks,
  groupBlocksLog,
  groupBlocks,
  groups,
  blockSize,
}: XfsSuperblock): Range {
  if (logStart === 0) refuse('its log is on another device');
  const group = Math.floor(logStart / 2 ** groupBlocksLog);
  const block = logStart % 2 ** groupBlocksLog;
  if (group >= groups || block + logBlocks > groupBlocks || logBlocks === 0) {
    throw new FormatError(`its log at block ${block} of group ${group} is not in the file system`);
  }
  return { offset: (group * groupBlocks + block) * blockSize, length: logBlocks * blockSize };
}

/** What a walk over a tree has seen; the same for both trees when they hold the same runs. */
class Tally {
  runs = 0;
  blocks = 0;
  longest = 0;
  #mixed = 0;

  add({ first, blocks }: FreeRun): void {
    this.runs += 1;
    this.blocks += blocks;
    this.longest = Math.max(this.longest, blocks);
    this.#mixed =
      (this.#mixed + Math.imul(first ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(blocks, 0xc2b2ae35)) >>> 0;
  }

  equals(other: Tally): boolean {
    return this.runs === other.runs && this.blocks === other.blocks && this.#mixed === other.#mixed;
  }
}

async function addGroup(
  free: FreeRanges,
  {
    reader,
    superblock,
    group,
    header,
  }: { reader: MetadataReader; superblock: XfsSuperblock; group: number; header: FreeSpaceHeader },
): Promise<void> {
  const { blockSize, groupBlocks } = superblock;
  const byBlock = new Tally();
  let position = 0;
  for await (const run of freeRuns(reader, superblock, { group, tree: 'byBlock', header })) {
    const end = run.first + run.blocks;
    // runs that touch would be one
    const isNext = run.first > position || byBlock.runs === 0;
    if (!isNext || run.blocks === 0 || end > header.blocks)
      refuse(`the free runs of group ${group} overlap or leave it`);
    byBlock.add(run);
    position = end;
    free.add((group * groupBlocks + run.first) * blockSize, run.blocks * blockSize);
  }
  const bySize = new Tally();
  for await (const run of freeRuns(reader, superblock, { group, tree: 'bySize', header })) bySize.add(run);
  if (!byBlock.equals(bySize)) refuse(`the two free-space trees of group ${group} differ`);
  if (byBlock.blocks !== header.free || byBlock.longest !== header.longest) {
    refuse(`group ${group} has ${byBlock.blocks} free blocks in its trees, its header says ${header.free}`);
  }
}
