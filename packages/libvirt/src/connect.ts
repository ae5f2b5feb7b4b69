/** From an address to an open connection: transport, authentication, keep-alive, open. */
import { connect as connectSocket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  connectUnix,
  type Logger,
  PrimaError,
  RemoteError,
  silentLogger,
  systemErrorCode,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import { authCalls, AuthType } from './calls/auth.ts';
import { connectCalls } from './calls/connect.ts';
import { LibvirtConnection, type OpenUnix } from './connection.ts';
import { ConnectFlags } from './constants/domain.ts';
import { Feature } from './constants/features.ts';
import { LibvirtError } from './errors.ts';
import { RpcConnection } from './rpc.ts';
import { type LibvirtTarget, type LibvirtUri, parseLibvirtUri } from './uri.ts';
import type { KeepAliveOptions } from './wire.ts';

export interface ConnectOptions {
  /** For all of connecting, milliseconds. Default 30 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
  logger?: Logger;
  /** Looks only: calls that change something are refused by the daemon. Default false. */
  readOnly?: boolean;
  /** How a dead daemon is noticed. */
  keepAlive?: Partial<KeepAliveOptions>;
}

const defaultKeepAlive: KeepAliveOptions = { intervalMs: 5000, count: 5 };
const connectTimeoutMs = 30_000;

/** The daemon's end of a transport. */
interface Transport {
  stream: Duplex;
  openUnix: OpenUnix;
}

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
      const { stream, openUnix } = await openTransport(address.target, address.shown, signal);
      const rpc = new RpcConnection(stream, address.shown);
      try {
        await negotiate(rpc, address, { ...options, timeoutMs, signal });
      } catch (error) {
        await rpc.close();
        throw error;
      }
      return new LibvirtConnection(rpc, { uri: address.shown, logger, openUnix });
    },
    options.signal,
  );
}

async function openTransport(target: LibvirtTarget, shown: string, signal: AbortSignal): Promise<Transport> {
  if (target.transport === 'unix') {
    const openUnix: OpenUnix = (path, options) => connectUnix(path, options);
    return { stream: await openFirst(target.socketPaths, shown, signal), openUnix };
  }
  const { host, port } = target;
  return {
    stream: await openTcp({ host, port }, shown, signal),
    openUnix: () => {
      throw new PrimaError(
        'unsupported',
        `${shown} reaches the daemon only, no other socket of its host; use qemu+ssh://`,
      );
    },
  };
}

/** The first socket that somebody listens at. */
async function openFirst(paths: readonly string[], shown: string, signal: AbortSignal): Promise<Duplex> {
  for (const path of paths) {
    try {
      return await connectUnix(path, { signal });
    } catch (error) {
      if (!(error instanceof RemoteError && error.details['system'] !== undefined)) throw error;
    }
  }
  throw new RemoteError(
    `connecting to ${shown}: nobody listens at ${paths.join(' or ')}; is libvirtd (or virtqemud) running?`,
    { retryable: true, details: { paths } },
  );
}

async function openTcp(
  { host, port }: { host: string; port: number },
  shown: string,
  signal: AbortSignal,
): Promise<Duplex> {
  const socket = connectSocket({ host, port, noDelay: true });
  const onAbort = () => socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once('connect', resolve);
  socket.on('error', reject);
  try {
    await promise;
    return socket;
  } catch (error) {
    socket.destroy();
    const reason = systemErrorCode(error) ?? toPrimaError(error, 'connecting').message;
    throw new RemoteError(`connecting to ${shown}: port ${port} of ${host} does not answer (${reason})`, {
      retryable: true,
      cause: error,
    });
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

interface Negotiation extends ConnectOptions {
  timeoutMs: number;
  signal: AbortSignal;
}

async function negotiate(
  rpc: RpcConnection,
  { name, shown }: LibvirtUri,
  options: Negotiation,
): Promise<void> {
  await authenticate(rpc, shown, options);
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

async function authenticate(rpc: RpcConnection, shown: string, options: Negotiation): Promise<void> {
  const { types } = await rpc.call({ name: 'authList', procedure: authCalls.authList, args: {} }, options);
  if (types.includes(AuthType.NONE)) return;
  if (types.includes(AuthType.POLKIT)) {
    await authenticateByPolkit(rpc, shown, options);
    return;
  }
  throw new PrimaError(
    'unsupported',
    `connecting to ${shown}: the daemon wants a way to log in that Prima has not (numbers ${types.join(', ')})`,
  );
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
