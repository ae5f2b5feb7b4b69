/**
 * Unix sockets at any path. The kernel's `sockaddr_un` holds 107 bytes of path (unix(7)); a longer one
 * is reached through `/proc/self/fd/<folder>/<name>`, with the folder held open for the time.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { systemClock } from './clock.ts';
import { withDeadline } from './concurrency.ts';
import { RemoteError, systemErrorCode, toPrimaError } from './errors.ts';

/** Bytes of path that fit into `sockaddr_un.sun_path` with its closing zero. */
export const socketPathLimitBytes = 107;

export interface ConnectOptions {
  /** For the whole of connecting, milliseconds. Default 10 s. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/**
 * Calls `use` with a path for the socket `path` that fits into a socket address. The short path holds
 * only in this process and only until `use` has ended. A name (last part) over 80 bytes cannot be helped.
 */
export async function withShortSocketPath<T>(
  path: string,
  use: (shortPath: string) => Promise<T>,
): Promise<T> {
  if (Buffer.byteLength(path) <= socketPathLimitBytes) return use(path);
  let folder: FileHandle;
  try {
    folder = await open(dirname(path), 'r');
  } catch (error) {
    throw toPrimaError(error, `opening the folder of socket ${path}`);
  }
  try {
    return await use(`/proc/self/fd/${folder.fd}/${basename(path)}`);
  } finally {
    await folder.close();
  }
}

/**
 * Connects to a unix socket at a path of any length. The caller owns the socket and destroys it.
 * Raises `remote` when nobody listens there (`details.system` is ENOENT or ECONNREFUSED), `timeout`
 * when the listener's queue stays full, `permission`, `cancelled`.
 */
export async function connectUnix(path: string, options: ConnectOptions = {}): Promise<Socket> {
  const { timeoutMs = 10_000, signal } = options;
  const doing = `connecting to socket ${path}`;
  return withDeadline(
    timeoutMs,
    doing,
    async (inner) => {
      const socket = await withShortSocketPath(path, (short) => connectPatiently(short, path, inner));
      if (inner.aborted) socket.destroy(); // nobody waits for it any more
      return socket;
    },
    signal,
  );
}

/** A full queue (EAGAIN) is tried again until the deadline. */
async function connectPatiently(short: string, path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    try {
      return await connectOnce(short, signal);
    } catch (error) {
      const system = systemErrorCode(error);
      if (system === 'ENOENT' || system === 'ECONNREFUSED') {
        throw new RemoteError(`connecting to socket ${path}: nobody listens there (${system})`, {
          retryable: true,
          details: { path, system },
          cause: error,
        });
      }
      if (system !== 'EAGAIN') throw toPrimaError(error, `connecting to socket ${path}`);
    }
    await systemClock.sleep(50, signal);
  }
}

function connectOnce(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const onAbort = () => socket.destroy(toPrimaError(signal.reason, 'connecting'));
    socket.once('connect', () => {
      signal.removeEventListener('abort', onAbort);
      resolve(socket);
    });
    // stays: an error before the new owner listens must not end the process; the owner looks at `errored`
    socket.on('error', (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    });
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}
