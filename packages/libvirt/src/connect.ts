/** From an address to an open connection: transport, authentication, keep-alive, open. */
import { type Logger, PrimaError, RemoteError, silentLogger, withDeadline } from '@prima/base';
import { authenticateBySasl, type CredentialsSource } from './auth/sasl.ts';
import { authCalls, AuthType } from './calls/auth.ts';
import { connectCalls } from './calls/connect.ts';
import { LibvirtConnection } from './connection.ts';
import { ConnectFlags } from './constants/domain.ts';
import { Feature } from './constants/features.ts';
import { LibvirtError } from './errors.ts';
import { RpcConnection } from './rpc.ts';
import { openTransport, type Transport } from './transport/transport.ts';
import { type LibvirtUri, parseLibvirtUri } from './uri.ts';
import type { KeepAliveOptions } from './wire.ts';

export interface ConnectOptions {
  /** For all of connecting, milliseconds. Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
  logger?: Logger;
  /** Looks only: calls that change something are refused by the daemon. Default false. */
  readOnly?: boolean;
  /** For daemons that want a name and a password. */
  credentials?: CredentialsSource;
  /** How a dead daemon is noticed. */
  keepAlive?: Partial<KeepAliveOptions>;
}

const defaultKeepAlive: KeepAliveOptions = { intervalMs: 5000, count: 5 };
const connectTimeoutMs = 30_000;

/**
 * Connects to the libvirt daemon that `uri` names and opens the hypervisor. Raises `usage` for an address that is none, `remote`
 * (retryable) when nobody answers there, `permission` when the daemon does not let us in, `timeout`, `cancelled`.
 */
export async function connectLibvirt(uri: string, options: ConnectOptions = {}): Promise<LibvirtConnection> {
  const address = parseLibvirtUri(uri, { readOnly: options.readOnly ?? false });
  const { timeoutMs = connectTimeoutMs, logger = silentLogger } = options;
  return await withDeadline(
    timeoutMs,
    `connecting to ${address.shown}`,
    async (signal) => {
      const given = { logger, signal, readOnly: options.readOnly ?? false };
      const transport = await openTransport(address, given);
      const rpc = new RpcConnection(transport.stream, address.shown);
      try {
        await negotiate(rpc, { address, isPrivate: transport.isPrivate }, { ...options, timeoutMs, signal });
      } catch (error) {
        await rpc.close();
        transport.end();
        throw explained(error, transport);
      }
      return new LibvirtConnection(rpc, { uri: address.shown, logger, transport });
    },
    options.signal,
  );
}

/** A connection that ends at once may have been ended by a program in between, which says why. */
function explained(error: unknown, transport: Transport): unknown {
  const said = transport.said();
  if (said === '' || !(error instanceof RemoteError)) return error;
  const options = { retryable: error.retryable, cause: error };
  return new RemoteError(`${error.message}; the host says: ${said}`, options);
}

interface Peer {
  address: LibvirtUri;
  isPrivate: boolean;
}

interface Negotiation extends ConnectOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

async function negotiate(rpc: RpcConnection, peer: Peer, options: Negotiation): Promise<void> {
  const { name, shown } = peer.address;
  await authenticate(rpc, peer, options);
  const keepAlive = { ...defaultKeepAlive, ...options.keepAlive };
  if (await supports(rpc, Feature.VIR_DRV_FEATURE_PROGRAM_KEEPALIVE, options)) rpc.startKeepAlive(keepAlive);
  const flags = options.readOnly === true ? ConnectFlags.VIR_CONNECT_RO : 0;
  const procedure = connectCalls.connectOpen;
  await rpc.call({ name: 'connectOpen', procedure, args: { name, flags } }, options);
  if (!(await supports(rpc, Feature.VIR_DRV_FEATURE_REMOTE_EVENT_CALLBACK, options))) {
    throw new PrimaError('unsupported', `the libvirt at ${shown} is too old: its events have no callbacks`);
  }
}

async function supports(rpc: RpcConnection, feature: number, options: Negotiation): Promise<boolean> {
  const procedure = connectCalls.connectSupportsFeature;
  const call = { name: 'connectSupportsFeature', procedure, args: { feature } };
  return (await rpc.call(call, options)).supported;
}

async function authenticate(rpc: RpcConnection, peer: Peer, options: Negotiation): Promise<void> {
  const { shown: uri } = peer.address;
  const { timeoutMs, signal, credentials } = options;
  const { types } = await rpc.call({ name: 'authList', procedure: authCalls.authList, args: {} }, options);
  if (types.includes(AuthType.NONE)) return;
  if (types.includes(AuthType.SASL)) {
    await authenticateBySasl(rpc, { uri, isPrivate: peer.isPrivate, credentials, timeoutMs, signal });
  } else if (types.includes(AuthType.POLKIT)) await authenticateByPolkit(rpc, uri, options);
  else {
    throw new PrimaError(
      'unsupported',
      `connecting to ${uri}: the daemon wants a way to log in that Prima has not (numbers ${types.join(', ')})`,
    );
  }
}

/** The daemon asks polkit about the process at the socket; there is nothing that we could say. */
async function authenticateByPolkit(rpc: RpcConnection, shown: string, options: Negotiation): Promise<void> {
  try {
    await rpc.call({ name: 'authPolkit', procedure: authCalls.authPolkit, args: {} }, options);
  } catch (error) {
    if (!(error instanceof LibvirtError)) throw error;
    throw new PrimaError(
      'permission',
      `connecting to ${shown}: polkit does not let this user in (${error.text}). Add the user to the group libvirt ` +
        'and log in anew, or run Prima as root',
      { cause: error, details: error.details },
    );
  }
}
