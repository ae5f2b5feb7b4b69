/** Byte ranges and sets of them: sorted, disjoint, never touching. */
import { assert } from './errors.ts';

/** A byte range `[offset, offset + length)`. Both non-negative safe integers. */
export interface Range {
  offset: number;
  length: number;
}

/** The part that two ranges share, or undefined. */
export function intersect(a: Range, b: Range): Range | undefined {
  const offset = Math.max(a.offset, b.offset);
  const end = Math.min(a.offset + a.length, b.offset + b.length);
  return end > offset ? { offset, length: end - offset } : undefined;
}

/** Sorts ranges and merges those that overlap or touch; empty ones vanish. The input is not changed. */
export function mergeRanges(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter((r) => r.length > 0).sort((a, b) => a.offset - b.offset);
  const merged: Range[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last && range.offset <= last.offset + last.length) {
      last.length = Math.max(last.length, range.offset + range.length - last.offset);
    } else {
      merged.push({ ...range });
    }
  }
  return merged;
}

/** Widens every range to whole units, clipped to `size`, merged. */
export function alignRanges(ranges: readonly Range[], unit: number, size: number): Range[] {
  return mergeRanges(
    ranges.map(({ offset, length }) => {
      const start = Math.floor(offset / unit) * unit;
      const end = Math.min(Math.ceil((offset + length) / unit) * unit, size);
      return { offset: start, length: Math.max(0, end - start) };
    }),
  );
}

/** What `whole` has outside of `ranges` (which need not be sorted). Ascending. */
export function invertRanges(ranges: readonly Range[], whole: Range): Range[] {
  const gaps: Range[] = [];
  let position = whole.offset;
  const end = whole.offset + whole.length;
  for (const range of mergeRanges(ranges)) {
    if (range.offset > position) {
      gaps.push({ offset: position, length: Math.min(range.offset, end) - position });
    }
    position = Math.max(position, range.offset + range.length);
    if (position >= end) break;
  }
  if (position < end) gaps.push({ offset: position, length: end - position });
  return gaps.filter((gap) => gap.length > 0);
}

/** Total bytes of disjoint ranges. */
export function totalLength(ranges: readonly Range[]): number {
  return ranges.reduce((sum, range) => sum + range.length, 0);
}

/** Raises when a range is not inside `[0, size)`: a mistake of the caller. */
export function assertWithin(range: Range, size: number): void {
  const { offset, length } = range;
  const fits = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  assert(fits && offset + length <= size, `range ${offset}+${length} lies within ${size} bytes`);
}
