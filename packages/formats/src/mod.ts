/** Disk formats and machine configurations: pure parsing and writing, and telling formats apart. */
export * from './detect-format.ts';
export * from './qcow2-header.ts';
export * from './vmx/settings.ts';
export * from './vmx/vmx.ts';
