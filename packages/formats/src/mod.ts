/** Disk formats and machine configurations: telling them apart, parsing, writing, and VMDKs as devices. */
export * from './detect-format.ts';
export * from './qcow2-header.ts';
export * from './vmdk/create-types.ts';
export * from './vmdk/descriptor.ts';
export * from './vmdk/descriptor-write.ts';
export * from './vmdk/device-file.ts';
export * from './vmdk/disk-file.ts';
export * from './vmdk/hosted-header.ts';
export * from './vmdk/local-folder.ts';
export * from './vmdk/memory-folder.ts';
export * from './vmdk/stream-copy.ts';
export * from './vmdk/stream-reader.ts';
export * from './vmdk/stream-writer.ts';
export * from './vmx/settings.ts';
export * from './vmx/vmx.ts';
