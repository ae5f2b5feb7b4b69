/** BlockDevice, and the devices that wrap devices. */
export * from './bitmap.ts';
export * from './compare-devices.ts';
export * from './concat-device.ts';
export * from './conformance.ts';
export * from './copy-device.ts';
export * from './device.ts';
export * from './extents.ts';
export * from './faulty-device.ts';
export * from './filter-device.ts';
export * from './growing-file.ts';
export * from './memory-device.ts';
export * from './overlay-device.ts';
export * from './raw-file.ts';
export * from './read-ahead-device.ts';
export * from './read-only-device.ts';
export * from './slice-device.ts';
export * from './throttled-device.ts';
