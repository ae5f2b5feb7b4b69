/** SSH connections to servers whose key is the known one, as the user that an address names. */
export { connectSsh, type RemoteCommand, type SshConnection } from './connection.ts';
export type { SshLocation } from './location.ts';
