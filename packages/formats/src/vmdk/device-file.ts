/** A device as a file that is read: a virtual disk that lies on another disk, such as a file on a VMFS volume. */
import type { BlockDevice } from '@prima/block';
import type { DiskFile } from './disk-file.ts';

/** @param size in bytes where the file ends before the device does. Closing it closes `device`. */
export function deviceFile(device: BlockDevice, name: string, size = device.size): DiskFile {
  return {
    name,
    size,
    extents: (range, options) => device.extents(range, options),
    read: (offset, into, signal) => device.read(offset, into, signal),
    close: () => device.close(),
  };
}
