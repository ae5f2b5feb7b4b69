/**
 * Leaving out a guest's free space (docs/format/guest-space.md): what is left out of this disk, and what that means for a
 * disk that is only read where it has changed.
 */
import { formatBytes, mergeRanges, PrimaError, type Range, totalLength } from '@prima/base';
import { type BlockDevice, holeDevice } from '@prima/block';
import type { FreeSpace } from '@prima/formats';
import type { DiskReading } from '@prima/platforms';
import type { Point, PointDisk, Repository } from '@prima/repository';

/** What a disk's changes are relative to, or why everything is read. */
export interface Base extends Pick<DiskReading, 'changed' | 'whyFull'> {
  parent?: PointDisk;
}

export interface FreeSpaceRequest {
  repository: Repository;
  device: BlockDevice;
  /** Whose disk `base.parent` is. */
  point: Point | undefined;
  base: Base;
  isWanted: boolean;
  /** The point takes the machine's memory with it. */
  hasMemory: boolean;
  signal?: AbortSignal;
}

export interface WithoutFreeSpace {
  /** Closing it closes the one that was given. */
  device: BlockDevice;
  base: Base;
  /** For the point; undefined where nobody asked. */
  freeSpace?: PointDisk['freeSpace'];
}

/** Decides what is left out; raises what reading the disk raises. */
export async function leaveOutFreeSpace(request: FreeSpaceRequest): Promise<WithoutFreeSpace> {
  const { device, isWanted } = request;
  const found = isWanted ? await freeSpaceOf(request) : undefined;
  const ranges = found?.ranges ?? [];
  const base = await baseWith(request, ranges);
  if (!found) return { device, base };
  const { freeSpaceRules } = await import('@prima/formats');
  const freeSpace = { rules: freeSpaceRules, bytes: totalLength(ranges), kept: reasons(found) };
  return { device: ranges.length > 0 ? holeDevice(device, ranges) : device, base, freeSpace };
}

async function freeSpaceOf({ device, hasMemory, signal }: FreeSpaceRequest): Promise<FreeSpace> {
  if (!hasMemory) {
    const { findFreeSpace } = await import('@prima/formats');
    return await findFreeSpace(device, { signal });
  }
  const why = "the machine's memory is in the point, and may know more than the disk";
  return { ranges: [], parts: [], why };
}

function reasons({ why, parts }: FreeSpace): string[] {
  if (why !== undefined) return [why];
  return parts.flatMap((part) => (part.why === undefined ? [] : [`${part.name}: ${part.why}`]));
}

/**
 * What was left out of the parent and is not left out now has to be read, whether or not it was written; what is left
 * out now and was not then has to become zeros, so that a chunk that is kept is what a full read would give.
 */
async function baseWith(request: FreeSpaceRequest, ranges: readonly Range[]): Promise<Base> {
  const { base } = request;
  const { changed, parent } = base;
  if (changed === undefined || parent === undefined) return base;
  const before = await leftOutBefore(request, parent);
  if (typeof before === 'string') return { whyFull: before };
  return { changed: mergeRanges([...changed, ...differingRanges(before, ranges)]), parent };
}

/** What was left out of the parent, or why that is not known. */
async function leftOutBefore(
  { repository, point, signal }: FreeSpaceRequest,
  { name, freeSpace }: PointDisk,
): Promise<Range[] | string> {
  if (freeSpace === undefined || freeSpace.bytes === 0 || point === undefined) return [];
  const which = `the point before (${point.id.slice(0, 8)})`;
  const { findFreeSpace, freeSpaceRules } = await import('@prima/formats');
  if (freeSpace.rules !== freeSpaceRules)
    return `${which} left out free space by rules of another version of Prima`;
  const device = await repository.openDisk(point, name);
  try {
    const { ranges } = await findFreeSpace(device, { signal });
    if (totalLength(ranges) === freeSpace.bytes) return ranges;
    return `what ${which} left out cannot be told any more`;
  } catch (error) {
    if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    return `what ${which} left out cannot be read: ${error.message}`;
  } finally {
    await device.close();
  }
}

/** What is in exactly one of two lists of disjoint ranges. Pure. */
export function differingRanges(a: readonly Range[], b: readonly Range[]): Range[] {
  // every boundary changes whether one is in exactly one of them; where two coincide, nothing changes
  const edges = Float64Array.from(
    [...a, ...b].flatMap(({ offset, length }) => [offset, offset + length]),
  ).sort();
  const ranges: Range[] = [];
  for (let i = 0; i + 1 < edges.length; i += 2) {
    const [offset = 0, end = 0] = edges.subarray(i, i + 2);
    ranges.push({ offset, length: end - offset });
  }
  return mergeRanges(ranges);
}

/** For the log and the point. Pure. */
export function freeSpaceNotes(disk: string, freeSpace: PointDisk['freeSpace']): string[] {
  if (!freeSpace) return [];
  const { bytes, kept } = freeSpace;
  const left =
    bytes > 0 ? [`${disk}: ${formatBytes(bytes)} of free space were left out, and read as zeros`] : [];
  return [...left, ...kept.map((why) => `${disk}: free space was not left out: ${why}`)];
}
