/** What the engine asks of hosts, and the kinds of hosts there are. */
export * from './host-item.ts';
export * from './platform.ts';
export type * from './recovery.ts';
export { openLibvirtHost } from './libvirt-host/libvirt-host.ts';
export { openFolder, openQemuHost } from './qemu-host/qemu-host.ts';
export * from './resources.ts';
export * from './rollback.ts';
