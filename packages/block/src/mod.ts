/** BlockDevice, and the devices that wrap devices. */
export * from './device.ts';
export * from './extents.ts';
export * from './filter-device.ts';
export * from './memory-device.ts';
export * from './raw-file.ts';
export * from './read-only-device.ts';
