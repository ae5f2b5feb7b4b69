/** The way to the daemon: a byte stream, and to other sockets of its host. */
import { connect as connectSocket, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  connectUnix,
  type Logger,
  PrimaError,
  RemoteError,
  systemErrorCode,
  toPrimaError,
} from '@prima/base';
import type { CallOptions } from '../rpc.ts';
import type { LibvirtUri } from '../uri.ts';
import { openSshTransport } from './ssh.ts';
import { openTls, type TlsPeer } from './tls.ts';

/** Reaches another socket of the daemon's host, the way that the daemon itself is reached. */
export type OpenUnix = (path: string, options: CallOptions) => Promise<Duplex>;

export interface Transport {
  readonly stream: Duplex;
  /** Nobody can listen to it. */
  readonly isPrivate: boolean;
  readonly openUnix: OpenUnix;
  /** Where it is TLS. */
  readonly peer?: TlsPeer;
  /** What the other end complained about, where there is a program in between. */
  said(): string;
  /** Lets go of what the stream goes through; the stream itself has been ended. */
  end(): void;
}

export interface TransportOptions {
  logger: Logger;
  signal: AbortSignal;
  readOnly: boolean;
}

export async function openTransport(address: LibvirtUri, options: TransportOptions): Promise<Transport> {
  const { target, shown, name } = address;
  const plain = { said: () => '', end: () => undefined };
  if (target.transport === 'ssh') return await openSshTransport(target, { ...options, shown, name });
  if (target.transport === 'unix') {
    const openUnix: OpenUnix = (path, given) => connectUnix(path, given);
    const stream = await openFirst(target.socketPaths, shown, options.signal);
    return { ...plain, stream, isPrivate: true, openUnix };
  }
  const openUnix: OpenUnix = async () => {
    const text = `${shown} reaches the daemon and no other socket of its host; use qemu+ssh://`;
    throw new PrimaError('unsupported', text);
  };
  const socket = await openTcp(target, shown, options.signal);
  if (target.transport === 'tcp') return { ...plain, stream: socket, isPrivate: false, openUnix };
  try {
    return { ...plain, ...(await openTls(socket, target, { ...options, shown })), isPrivate: true, openUnix };
  } catch (error) {
    socket.destroy();
    throw error;
  }
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
): Promise<Socket> {
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
