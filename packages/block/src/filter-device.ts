/**
 * The base of devices that wrap one device: every call goes to the wrapped device but those that the
 * filter answers itself.
 */
import type { BlockDevice, WritableDevice } from './device.ts';

/** What a wrapper of `D` is: writable when `D` is known to be. */
export type Wrapped<D extends BlockDevice> = D extends WritableDevice ? WritableDevice : BlockDevice;

/** True when the device has all that a writable one has. */
export function isWritable(device: BlockDevice): device is WritableDevice {
  return device.write !== undefined && device.zero !== undefined && device.flush !== undefined;
}

/**
 * A device whose calls are those of `filter`, and of `device` where `filter` has none. It is
 * writable exactly when `device` is; the filter's writing calls are left out otherwise. Closing it
 * closes `device`.
 */
export function filterDevice<D extends BlockDevice>(device: D, filter: Partial<BlockDevice>): Wrapped<D> {
  const inner: BlockDevice = device;
  const readable: BlockDevice = {
    size: filter.size ?? inner.size,
    blockSize: filter.blockSize ?? inner.blockSize,
    extents: filter.extents ?? ((range, options) => inner.extents(range, options)),
    read: filter.read ?? ((offset, into, signal) => inner.read(offset, into, signal)),
    close: filter.close ?? (() => inner.close()),
  };
  if (!isWritable(inner)) return readable as Wrapped<D>;
  const writable: WritableDevice = {
    ...readable,
    write: filter.write ?? ((offset, from, signal) => inner.write(offset, from, signal)),
    zero: filter.zero ?? ((range, signal) => inner.zero(range, signal)),
    flush: filter.flush ?? (() => inner.flush()),
  };
  return writable;
}
