/** A device that cannot be written, whatever it wraps. */
import type { BlockDevice } from './device.ts';

/** `device` without its writing calls. Closing it closes `device`. */
export function readOnlyDevice(device: BlockDevice): BlockDevice {
  return {
    size: device.size,
    blockSize: device.blockSize,
    extents: (range, options) => device.extents(range, options),
    read: (offset, into, signal) => device.read(offset, into, signal),
    close: () => device.close(),
  };
}
