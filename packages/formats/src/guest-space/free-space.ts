/**
 * Which ranges of a disk are provably of no use to its guest: free space of file systems that are whole in themselves in
 * exactly this image. Everything else is in use, and said why. See docs/format/guest-space.md.
 */
import { PrimaError, type Range, totalLength } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Partition, PartitionTable } from '../partitions/partition-table.ts';
import { readPartitions } from '../partitions/read-partitions.ts';
import { extFreeSpace } from './ext/free-space.ts';
import { MetadataReader } from './metadata-reader.ts';
import { ntfsFreeSpace } from './ntfs/free-space.ts';
import { xfsFreeSpace } from './xfs/free-space.ts';

/**
 * Number of the rules that decide what is free. It changes with every change of them that could give other ranges for
 * the same disk: a backup on top of another finds out with it what that one left out.
 */
export const freeSpaceRules = 1;

export interface PartSpace {
  /** "partition 2 (ext4)" or "the disk (xfs)", for people. */
  name: string;
  /** Bytes that may be skipped. */
  free: number;
  /** Why nothing of it may be skipped. */
  why?: string;
}

export interface FreeSpace {
  /** On the disk, ascending, none touching another. */
  ranges: Range[];
  /** One a partition. */
  parts: PartSpace[];
  /** Why nothing of the whole disk may be skipped. */
  why?: string;
}

export interface FreeSpaceOptions {
  signal?: AbortSignal;
  /** Shorter ranges are left out, bytes. Default 64 KiB. */
  smallest?: number;
}

const readers = {
  ext2: extFreeSpace,
  ext3: extFreeSpace,
  ext4: extFreeSpace,
  xfs: xfsFreeSpace,
  ntfs: ntfsFreeSpace,
};

/** Types of partitions whose content belongs to the file system in them, and to nothing above it. */
const plainTypes: ReadonlySet<string> = new Set([
  '',
  '0x07',
  '0x17',
  '0x27',
  '0x83',
  '0fc63daf-8483-4772-8e79-3d69d8477de4',
  '44479540-f297-41b2-9af7-d131d5f0458a',
  '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
  '69dad710-2ce4-4e3c-b16c-21a1d49abed3',
  'b921b045-1df0-41c3-af44-4c6f280d3fae',
  '8484680c-9521-48c6-9c11-b0720656f69e',
  'bc13c2ff-59e6-4262-a352-b275fd6f7172',
  '933ac7e1-2eb4-4f13-b844-0e14e2aef915',
  '3b8f8425-20e0-4f3b-907f-1a25a76f98e8',
  '4d21b016-b534-45c2-a9fb-5c16e091fd2d',
  '7ec6f557-3bc5-4aca-b293-16ef5df639d1',
  'ebd0a0a2-b9e5-4433-87c0-68b6b72699c7',
  'de94bba4-06d1-4d40-a16a-bfd50179d6ac',
]);

/** Raises only what reading the device raises. The same bytes give the same answer, always. */
export async function findFreeSpace(device: BlockDevice, options: FreeSpaceOptions = {}): Promise<FreeSpace> {
  const table = await readPartitions(device, options.signal);
  const why = whyNothing(table);
  if (why !== undefined) return { ranges: [], parts: [], why };
  const ranges: Range[] = [];
  const parts: PartSpace[] = [];
  for (const partition of table.partitions) {
    const found = await partSpace(device, partition, options);
    const free = Array.isArray(found) ? totalLength(found) : 0;
    parts.push({ name: nameOf(partition), free, ...(Array.isArray(found) ? {} : { why: found.why }) });
    if (!Array.isArray(found)) continue;
    for (const { offset, length } of found) ranges.push({ offset: partition.offset + offset, length });
  }
  return { ranges, parts };
}

function whyNothing({ partitions, intact, notes }: PartitionTable): string | undefined {
  if (!intact) return `the partition table is not in order: ${notes.join('; ')}`;
  if (partitions.length === 0) return 'no partition and no file system is known on it';
  const asleep = partitions.find(({ fileSystem }) => fileSystem?.kind === 'swap with a hibernated system');
  return asleep && `a hibernated system is on ${nameOf(asleep)}`;
}

/** The free ranges in the partition, or why there are none. */
async function partSpace(
  device: BlockDevice,
  partition: Partition,
  { signal, smallest }: FreeSpaceOptions,
): Promise<Range[] | { why: string }> {
  const { fileSystem, alsoShows, typeId, typeName } = partition;
  if (!fileSystem) return { why: 'nothing known is on it' };
  if (alsoShows)
    return { why: `it shows ${[fileSystem.kind, ...alsoShows].join(' and ')}: one of them is stale` };
  if (!plainTypes.has(typeId))
    return { why: `its type, ${typeName} (${typeId}), may belong to something above it` };
  if (!(fileSystem.kind in readers)) return { why: `the free space of ${fileSystem.kind} is not read` };
  const read = readers[fileSystem.kind as keyof typeof readers];
  const reader = new MetadataReader(device, partition, signal);
  try {
    return await read(reader, smallest);
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'refused') return { why: error.message };
    if (error instanceof PrimaError && error.code === 'format')
      return { why: `it is damaged: ${error.message}` };
    throw error;
  }
}

function nameOf({ index, fileSystem }: Partition): string {
  const kind = fileSystem ? ` (${fileSystem.kind})` : '';
  return index === 0 ? `the disk${kind}` : `partition ${index}${kind}`;
}
