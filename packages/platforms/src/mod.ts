/** What the engine asks of hosts, and the kinds of hosts there are. */
export * from './platform.ts';
export { openFolder, openQemuHost } from './qemu-host/qemu-host.ts';
