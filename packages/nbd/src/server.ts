/** Exports block devices over NBD: to QEMU, libnbd's tools, the kernel, or Prima itself. */
import { chmod, lstat, rm } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import {
  assert,
  type Logger,
  PrimaError,
  silentLogger,
  systemErrorCode,
  throwIfAborted,
  toPrimaError,
  UserError,
  withDeadline,
} from '@prima/base';
import { ByteReader } from './byte-reader.ts';
import { ServerConnection, serverClosed } from './server-connection.ts';
import { type NbdServerExport, type NbdServerTls, ServerHandshake } from './server-handshake.ts';
import { checkExportName } from './uri.ts';
import { type NbdTarget, Wire } from './wire.ts';

export interface NbdServerOptions {
  /** A unix socket (its folder exists, it is made with mode 0600) or an address; port 0 picks a free one. */
  listen: NbdTarget;
  exports: readonly NbdServerExport[];
  /** When given, clients must use TLS. */
  tls?: NbdServerTls;
  /** Closes the server when aborted. */
  signal?: AbortSignal;
  /** Clients at once; more are turned away. Default 64. */
  maxClients?: number;
  /** For a client's handshake. Default 30 s. */
  handshakeTimeoutMs?: number;
  logger?: Logger;
}

export interface NbdServer extends AsyncDisposable {
  /** Where it listens: with the port that was picked. */
  readonly address: NbdTarget;
  /**
   * Stops listening, drops all clients and removes the socket. When it resolves no device is in use any
   * more; the devices stay open. May be called again.
   */
  close(): Promise<void>;
}

/** sun_path holds 108 bytes with its NUL (unix(7)). */
const socketPathBytes = 107;
const endGraceMs = 1000;

/**
 * Starts a server. Raises `usage`, `busy` (somebody answers at the address), `exists` (the path is no
 * socket), `not-found` (no such folder), `permission`.
 */
export async function serveNbd(options: NbdServerOptions): Promise<NbdServer> {
  throwIfAborted(options.signal, 'starting the NBD server');
  checkExports(options.exports);
  const running = new RunningServer(options);
  await running.listen();
  return running;
}

function checkExports(exports: readonly NbdServerExport[]): void {
  const names = new Set<string>();
  for (const { name, device, writable } of exports) {
    checkExportName(name);
    if (names.has(name)) throw new UserError('usage', `the export name "${name}" is there twice`);
    names.add(name);
    const canWrite = device.write !== undefined && device.zero !== undefined && device.flush !== undefined;
    assert(!writable || canWrite, `the device of the writable export "${name}" can be written`);
  }
}

class RunningServer implements NbdServer {
  readonly #options: NbdServerOptions;
  readonly #logger: Logger;
  readonly #server: Server;
  readonly #clients = new Map<Wire, Promise<void>>();
  #address: NbdTarget;
  #closing: Promise<void> | undefined;
  readonly #onAbort = () => void this.close();

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#address = options.listen;
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  get address(): NbdTarget {
    return this.#address;
  }

  async listen(): Promise<void> {
    const { listen, signal } = this.#options;
    if ('socketPath' in listen) await listenOnSocket(this.#server, listen.socketPath);
    else await listenOn(this.#server, { host: listen.host, port: listen.port });
    this.#server.on('error', (error) => this.#logger.error(`NBD server: ${error.message}`));
    if (!('socketPath' in listen)) {
      this.#address = { host: listen.host, port: (this.#server.address() as AddressInfo).port };
    }
    if (signal?.aborted) await this.close();
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
    throwIfAborted(signal, 'starting the NBD server');
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve()); // removes a unix socket, too
    for (const wire of this.#clients.keys()) wire.destroy(serverClosed(wire.peer));
    await Promise.all(this.#clients.values());
    await promise;
  }

  #accept(socket: Socket): void {
    const peer = socket.remoteAddress ? `${socket.remoteAddress}:${socket.remotePort}` : 'a local client';
    const { maxClients = 64 } = this.#options;
    if (this.#clients.size >= maxClients || this.#closing) {
      this.#logger.warn(`NBD server: turned ${peer} away: ${this.#clients.size} clients are there`);
      socket.on('error', () => undefined); // it is being dropped anyway
      socket.destroy();
      return;
    }
    const reader = new ByteReader();
    const wire = Wire.accept(socket, `the NBD client ${peer}`, reader);
    const served = this.#serve(wire, reader).finally(() => this.#clients.delete(wire));
    this.#clients.set(wire, served);
  }

  /** Never rejects: what a client does wrong ends that client's connection and is logged. */
  async #serve(wire: Wire, reader: ByteReader): Promise<void> {
    const { exports, tls, handshakeTimeoutMs = 30_000 } = this.#options;
    try {
      const handshake = new ServerHandshake(wire, reader, { exports, tls });
      const session = await withDeadline(handshakeTimeoutMs, `shaking hands with ${wire.peer}`, () =>
        handshake.run(),
      );
      if (session) await new ServerConnection(wire, session, this.#logger).run(reader);
      await wire.end(serverClosed(wire.peer), endGraceMs);
    } catch (error) {
      const failure = toPrimaError(error, `serving ${wire.peer}`);
      this.#logger.info(`NBD server: ${wire.peer} left: ${failure.message}`, { code: failure.code });
      wire.destroy(failure);
    }
    if (wire.failure?.code === 'protocol') {
      this.#logger.warn(`NBD server: dropped ${wire.peer}: ${wire.failure.message}`);
    }
    await wire.closed;
  }
}

async function listenOnSocket(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > socketPathBytes) {
    throw new UserError('usage', `the socket path ${path} is longer than ${socketPathBytes} bytes`);
  }
  await removeStaleSocket(path);
  // made private from the first moment where the umask can be set (it belongs to the whole process)
  const umask = isMainThread ? process.umask(0o177) : undefined;
  let listening: Promise<void>;
  try {
    listening = listenOn(server, { path });
  } finally {
    if (umask !== undefined) process.umask(umask);
  }
  await listening;
  try {
    await chmod(path, 0o600);
  } catch (error) {
    server.close();
    throw toPrimaError(error, `making the socket ${path} private`);
  }
}

async function listenOn(
  server: Server,
  where: { path: string } | { host: string; port: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const text = 'path' in where ? where.path : `${where.host}:${where.port}`;
  const onError = (error: Error) => {
    reject(
      systemErrorCode(error) === 'EADDRINUSE'
        ? new PrimaError('busy', `listening at ${text}: somebody else does`, { cause: error })
        : toPrimaError(error, `listening at ${text}`),
    );
  };
  server.once('error', onError);
  server.listen(where, resolve);
  await promise;
  server.off('error', onError);
}

/** Makes way for a new socket: removes one that nobody answers at, and nothing else. */
async function removeStaleSocket(path: string): Promise<void> {
  try {
    const status = await lstat(path);
    if (!status.isSocket()) throw new PrimaError('exists', `${path} is there and is not a socket`);
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw toPrimaError(error, `looking at ${path}`);
    await folderMustExist(path);
    return;
  }
  if (await answers(path)) throw new PrimaError('busy', `${path}: a server answers there already`);
  await rm(path, { force: true });
}

async function folderMustExist(path: string): Promise<void> {
  try {
    await lstat(dirname(path));
  } catch (error) {
    throw toPrimaError(error, `making the socket ${path}`);
  }
}

async function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once('connect', () => resolve(true));
  // a full queue of waiting clients (EAGAIN) is a sign of life, too
  socket.once('error', (error) =>
    resolve(!['ECONNREFUSED', 'ENOENT'].includes(systemErrorCode(error) ?? '')),
  );
  try {
    return await promise;
  } finally {
    socket.destroy();
  }
}
