/** BlockDevice, and the devices that wrap devices. */
export * from './device.ts';
