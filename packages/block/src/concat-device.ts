/** Several devices one after the other as one: a disk split into files, a volume of several extents. */
import { assert, assertWithin, type Range, settled } from '@prima/base';
import type { BlockDevice, Extent, ExtentOptions, WritableDevice } from './device.ts';
import { mergeExtents, shiftExtents } from './extents.ts';
import { isWritable, type Wrapped } from './filter-device.ts';

/** What of a range lies in one of the devices. */
interface Part<D> {
  device: D;
  /** Where the device begins in the whole. */
  start: number;
  /** The range in the device, and its distance from the start of the whole range. */
  range: Range;
  done: number;
}

/**
 * `devices` (at least one) in their order as one device; writable when all of them are. Closing it
 * closes them all.
 */
export function concatDevices<D extends BlockDevice>(devices: readonly D[]): Wrapped<D> {
  assert(devices.length > 0, 'there are devices to put together');
  const all: readonly BlockDevice[] = devices;
  const device = all.every(isWritable) ? writableOf(all) : readableOf(all);
  return device as Wrapped<D>;
}

function layout<D extends BlockDevice>(devices: readonly D[]) {
  const starts: number[] = [];
  let size = 0;
  for (const device of devices) {
    starts.push(size);
    size += device.size;
  }
  const parts = (range: Range): Part<D>[] => {
    assertWithin(range, size);
    const found: Part<D>[] = [];
    const end = range.offset + range.length;
    for (const [index, device] of devices.entries()) {
      const start = starts[index] ?? 0;
      const from = Math.max(range.offset, start);
      const to = Math.min(end, start + device.size);
      if (to > from) {
        const inside = { offset: from - start, length: to - from };
        found.push({ device, start, range: inside, done: from - range.offset });
      }
    }
    return found;
  };
  return { size, parts };
}

function readableOf(devices: readonly BlockDevice[]): BlockDevice {
  const { size, parts } = layout(devices);
  async function* extents(range: Range, options?: ExtentOptions): AsyncGenerator<Extent> {
    for (const { device, start, range: inside } of parts(range)) {
      yield* shiftExtents(device.extents(inside, options), start);
    }
  }
  return {
    size,
    blockSize: Math.max(...devices.map((device) => device.blockSize)),
    extents: (range, options) => mergeExtents(extents(range, options)),
    read: async (offset, into, signal) => {
      const wanted = parts({ offset, length: into.length });
      await settled(
        wanted.map(({ device, range, done }) =>
          device.read(range.offset, into.subarray(done, done + range.length), signal),
        ),
      );
    },
    close: async () => void (await settled(devices.map((device) => device.close()))),
  };
}

function writableOf(devices: readonly WritableDevice[]): WritableDevice {
  const { parts } = layout(devices);
  return {
    ...readableOf(devices),
    write: async (offset, from, signal) => {
      const wanted = parts({ offset, length: from.length });
      await settled(
        wanted.map(({ device, range, done }) =>
          device.write(range.offset, from.subarray(done, done + range.length), signal),
        ),
      );
    },
    zero: async (range, signal) =>
      void (await settled(parts(range).map((part) => part.device.zero(part.range, signal)))),
    flush: async () => void (await settled(devices.map((device) => device.flush()))),
  };
}
