/** Real machines, real programs and real files for tests, the benchmark and the demo. */
export * from './cache-folder.ts';
export * from './certificates.ts';
export * from './debian-packages.ts';
export * from './file-lock.ts';
export * from './free-ports.ts';
export * from './fuzz.ts';
export * from './guest/boot.ts';
export * from './guest/records.ts';
export * from './guest/tiny-guest.ts';
export * from './iscsi-target.ts';
export * from './libvirt-daemon.ts';
export * from './object-gateway.ts';
export * from './object-proxy.ts';
export * from './spawn-prima.ts';
export * from './ssh-server.ts';
export * from './test-files.ts';
export * from './wait.ts';
export { isListening } from './listening.ts';
