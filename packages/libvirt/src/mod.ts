/** A client of libvirt's daemons that speaks their own protocol: docs/protocol/libvirt.md. */
export type { CallArgs, CallName, CallReply, StreamCallName } from './calls/table.ts';
export {
  type Checkpoint,
  type Domain,
  type Network,
  paramValues,
  type Secret,
  type Snapshot,
  type StoragePool,
  type StorageVolume,
  type TypedParam,
} from './calls/types.ts';
export type { Credentials, CredentialsSource } from './auth/sasl.ts';
export { type ConnectOptions, connectLibvirt } from './connect.ts';
export {
  type DomainEventMessage,
  type DomainEventName,
  type LibvirtConnection,
  type MonitorEventMessage,
  type MonitorSubscribeOptions,
  type SubscribeOptions,
} from './connection.ts';
export * from './constants/disks.ts';
export * from './constants/domain.ts';
export * from './constants/errors.ts';
export * from './constants/events.ts';
export { VIR_TYPED_PARAM_STRING_OKAY } from './constants/features.ts';
export * from './constants/host.ts';
export { LibvirtError } from './errors.ts';
export type { Listener, Subscription } from './events.ts';
export type { CallOptions } from './rpc.ts';
export type { RpcStream, StreamPiece } from './stream.ts';
export { streamDuplex } from './stream-duplex.ts';
export type { TlsPeer } from './transport/tls.ts';
export { parseLibvirtUri } from './uri.ts';
