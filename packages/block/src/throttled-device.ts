/** A device whose bytes come and go no faster than they are allowed to. */
import { type Clock, systemClock, TokenBucket, toPrimaError } from '@prima/base';
import type { BlockDevice } from './device.ts';
import { filterDevice, type Wrapped } from './filter-device.ts';

export interface ThrottleOptions {
  /** Limit of reads and writes together. */
  bytesPerSecond: number;
  clock?: Clock;
}

/**
 * `device` at no more than `bytesPerSecond` on average (up to a tenth of a second's worth at once).
 * Extents, zeroing and flushing are not limited: they move no bytes. Closing it closes `device`.
 */
export function throttledDevice<D extends BlockDevice>(device: D, options: ThrottleOptions): Wrapped<D> {
  const { bytesPerSecond, clock = systemClock } = options;
  const bucket = new TokenBucket({ tokensPerSecond: bytesPerSecond, clock });
  const inner: BlockDevice = device;
  const turn = (bytes: number, signal: AbortSignal | undefined) =>
    bucket.take(bytes, signal).catch((error: unknown) => {
      throw toPrimaError(error, 'waiting for the bandwidth limit');
    });
  return filterDevice(device, {
    read: async (offset, into, signal) => {
      await turn(into.length, signal);
      await inner.read(offset, into, signal);
    },
    write: async (offset, from, signal) => {
      await turn(from.length, signal);
      await inner.write?.(offset, from, signal);
    },
  });
}
