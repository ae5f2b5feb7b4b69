/** Extents: merging, clipping, and making them from ranges. */
import { invertRanges, mergeRanges, type Range } from '@prima/base';
import type { Extent, ExtentKind } from './device.ts';

/**
 * Drops empty extents and merges neighbours of one kind that touch. The input is ascending and
 * disjoint; what comes out is what `BlockDevice.extents` has to give.
 */
export async function* mergeExtents(
  extents: AsyncIterable<Extent> | Iterable<Extent>,
): AsyncGenerator<Extent> {
  let last: Extent | undefined;
  for await (const { offset, length, kind } of extents) {
    if (length === 0) continue;
    if (last && last.kind === kind && last.offset + last.length === offset) {
      last.length += length;
      continue;
    }
    if (last) yield last;
    last = { offset, length, kind };
  }
  if (last) yield last;
}

/** Moves extents by `delta` bytes, as a device does that lies inside another. */
export async function* shiftExtents(extents: AsyncIterable<Extent>, delta: number): AsyncGenerator<Extent> {
  for await (const { offset, length, kind } of extents) yield { offset: offset + delta, length, kind };
}

/**
 * Covers `whole`: `inside` where `ranges` (in any order, may overlap or stand out) say so, `outside`
 * elsewhere. Ascending, gapless, merged.
 */
export function toExtents(
  ranges: readonly Range[],
  whole: Range,
  kinds: { inside: ExtentKind; outside: ExtentKind },
): Extent[] {
  const gaps = invertRanges(ranges, whole);
  const covered = invertRanges(gaps, whole);
  if (kinds.inside === kinds.outside) {
    return mergeRanges([...gaps, ...covered]).map((range) => ({ ...range, kind: kinds.inside }));
  }
  return [
    ...gaps.map((range) => ({ ...range, kind: kinds.outside })),
    ...covered.map((range) => ({ ...range, kind: kinds.inside })),
  ].sort((a, b) => a.offset - b.offset);
}

/** Everything in one list; for ranges whose number of extents is known to be small. */
export async function collectExtents(extents: AsyncIterable<Extent>): Promise<Extent[]> {
  const all: Extent[] = [];
  for await (const extent of extents) all.push(extent);
  return all;
}
