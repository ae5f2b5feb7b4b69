/** The NBD protocol: client and server. */
export { connectNbd, listNbdExports, type NbdOptions } from './client.ts';
export { type BlockStatus, NbdDevice, WritableNbdDevice } from './device.ts';
export type { NbdExport, NbdTls } from './handshake.ts';
export { checkExportName, defaultNbdPort, type NbdUri, parseNbdUri, writeNbdUri } from './uri.ts';
export type { NbdTarget } from './wire.ts';
export { type NbdServer, type NbdServerOptions, serveNbd } from './server.ts';
export type { NbdServerExport, NbdServerTls } from './server-handshake.ts';
