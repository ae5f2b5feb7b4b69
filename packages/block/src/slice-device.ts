/** A part of a device as a device of its own: a partition, a volume. */
import { assert, assertWithin, type Range } from '@prima/base';
import type { BlockDevice } from './device.ts';
import { mergeExtents, shiftExtents } from './extents.ts';
import { filterDevice, type Wrapped } from './filter-device.ts';

/** The bytes of `range` (its length a multiple of 512) of `device`. Closing it closes `device`. */
export function sliceDevice<D extends BlockDevice>(device: D, range: Range): Wrapped<D> {
  const inner: BlockDevice = device;
  assertWithin(range, inner.size);
  assert(range.length % 512 === 0, `the length ${range.length} of a slice is a multiple of 512`);
  const { offset: start, length: size } = range;
  const moved = (part: Range): Range => {
    assertWithin(part, size);
    return { offset: start + part.offset, length: part.length };
  };
  const at = (offset: number, length: number): number => moved({ offset, length }).offset;
  return filterDevice(device, {
    size,
    extents: (part, options) => mergeExtents(shiftExtents(inner.extents(moved(part), options), -start)),
    read: async (offset, into, signal) => inner.read(at(offset, into.length), into, signal),
    write: async (offset, from, signal) => inner.write?.(at(offset, from.length), from, signal),
    zero: async (part, signal) => inner.zero?.(moved(part), signal),
  });
}
