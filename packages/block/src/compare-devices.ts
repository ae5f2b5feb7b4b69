/** Where two devices differ. */
import { forEachBounded, mergeRanges, MiB, type Range, throwIfAborted } from '@prima/base';
import type { BlockDevice } from './device.ts';

export interface CompareOptions {
  /** Ends once so many differing ranges are known (there may be some more). Default 1000. */
  limit?: number;
  signal?: AbortSignal;
}

export interface Comparison {
  /** The ranges in whole sectors of 512 bytes, ascending, merged. Empty: the devices hold the same. */
  differences: Range[];
  /** False when `limit` ended the comparison before the end. */
  complete: boolean;
}

const sector = 512;
const blockBytes = MiB;
const concurrency = 2;
/** Extents are compared a stretch at a time, so that their lists stay short. */
const stretchBytes = 256 * MiB;

/**
 * Compares what the devices hold; where one ends before the other, the rest of the other differs.
 * What both know to be zeros is not read.
 */
export async function compareDevices(
  a: BlockDevice,
  b: BlockDevice,
  options: CompareOptions = {},
): Promise<Comparison> {
  const { limit = 1000, signal } = options;
  const common = Math.min(a.size, b.size);
  const rest = Math.max(a.size, b.size) - common;
  let differences: Range[] = mergeRanges([{ offset: common, length: rest }]);
  for (let offset = 0; offset < common; offset += stretchBytes) {
    if (differences.length >= limit) return { differences: differences.slice(0, limit), complete: false };
    const stretch = { offset, length: Math.min(stretchBytes, common - offset) };
    const found: Range[] = [];
    await forEachBounded(
      blocksOf(await dataOf([a, b], stretch, signal)),
      concurrency,
      async (block, inner) => {
        found.push(...(await compareBlock(a, b, block, inner)));
      },
      signal,
    );
    differences = mergeRanges([...differences, ...found]);
  }
  throwIfAborted(signal, 'comparing disks');
  const complete = differences.length <= limit;
  return { differences: complete ? differences : differences.slice(0, limit), complete };
}

/** Where at least one of the devices may hold something other than zeros. */
async function dataOf(
  devices: readonly BlockDevice[],
  range: Range,
  signal: AbortSignal | undefined,
): Promise<Range[]> {
  const data: Range[] = [];
  for (const device of devices) {
    for await (const { offset, length, kind } of device.extents(range, { signal })) {
      if (kind === 'data') data.push({ offset, length });
    }
  }
  return mergeRanges(data);
}

function* blocksOf(ranges: readonly Range[]): Generator<Range> {
  for (const range of ranges) {
    const end = range.offset + range.length;
    for (let offset = range.offset; offset < end; offset += blockBytes) {
      yield { offset, length: Math.min(blockBytes, end - offset) };
    }
  }
}

async function compareBlock(
  a: BlockDevice,
  b: BlockDevice,
  block: Range,
  signal: AbortSignal,
): Promise<Range[]> {
  const ours = Buffer.allocUnsafe(block.length);
  const theirs = Buffer.allocUnsafe(block.length);
  await Promise.all([a.read(block.offset, ours, signal), b.read(block.offset, theirs, signal)]);
  if (ours.equals(theirs)) return [];
  const differing: Range[] = [];
  for (let at = 0; at < block.length; ) {
    const offset = block.offset + at;
    const length = Math.min(sector - (offset % sector), block.length - at);
    if (ours.compare(theirs, at, at + length, at, at + length) !== 0) differing.push({ offset, length });
    at += length;
  }
  return mergeRanges(differing);
}
