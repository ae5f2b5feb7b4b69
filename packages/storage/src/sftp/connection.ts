/** A logged-in connection to an SFTP server whose key is the known one. ssh2 is loaded when the first is made. */
import { connect as connectSocket, type Socket } from 'node:net';
import { type Logger, PrimaError, RemoteError, UserError, withDeadline } from '@prima/base';
import type { Client, SFTPWrapper } from 'ssh2';
import { type Credentials, loadCredentials } from './credentials.ts';
import { HostKeyCheck } from './host-key.ts';
import type { SftpLocation } from './location.ts';

const keepaliveMs = 15_000;
const keepaliveMisses = 4;

export interface SftpConnection {
  readonly sftp: SFTPWrapper;
  /** Calls `listener` once when the connection is gone, with the reason where one is known. */
  onLost(listener: (reason: string) => void): void;
  /** Ends it at once; nothing is waited for. */
  destroy(): void;
}

/**
 * Raises `refused` for a host key that is unknown or another than known, `permission` when the server lets us not
 * in, `remote` (retryable) and `timeout` when it cannot be reached.
 */
export async function connectSftp(
  location: SftpLocation,
  options: { logger: Logger },
): Promise<SftpConnection> {
  const { Client, utils } = (await import('ssh2')).default;
  const hostKey = await HostKeyCheck.load(location);
  const credentials = await loadCredentials(location, utils.parseKey, options.logger);
  const client = new Client();
  const socket = connectSocket({ host: location.host, port: location.port, noDelay: true });
  const destroy = () => {
    client.destroy();
    socket.destroy();
  };
  try {
    return await withDeadline(location.timeoutMs, `connecting to ${location.url}`, async () => {
      await reached(socket, location);
      await loggedIn(client, socket, { location, hostKey, credentials });
      return await opened(client, location, destroy);
    });
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Waits for the connection itself, so that a name that does not resolve is not taken for a refused login. */
function reached(socket: Socket, { url }: SftpLocation): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.on('error', (cause) => {
      reject(new RemoteError(`connecting to ${url}: ${cause.message}`, { retryable: true, cause }));
    });
  });
}

interface Login {
  location: SftpLocation;
  hostKey: HostKeyCheck;
  credentials: Credentials;
}

function loggedIn(client: Client, socket: Socket, { location, hostKey, credentials }: Login): Promise<void> {
  let refusal: UserError | undefined;
  const notes: string[] = [];
  return new Promise((resolve, reject) => {
    client.on('ready', resolve);
    client.on('error', (cause) => {
      if (cause.level === 'agent')
        notes.push(`the agent: ${cause.message}`); // the next method is tried
      else reject(refusal ?? loginError(cause, { location, credentials, notes }));
    });
    client.on('close', () => {
      reject(
        refusal ??
          new RemoteError(`connecting to ${location.url}: the server closed the connection`, {
            retryable: true,
          }),
      );
    });
    client.connect({
      sock: socket,
      username: location.user,
      authHandler: credentials.methods,
      algorithms: { serverHostKey: hostKey.preferredAlgorithms() },
      hostVerifier: (key: Buffer) => {
        refusal = hostKey.refusal(key);
        return refusal === undefined;
      },
      readyTimeout: 0, // our own deadline is around all of it
      keepaliveInterval: keepaliveMs,
      keepaliveCountMax: keepaliveMisses,
    });
  });
}

function loginError(
  cause: Error & { level?: string },
  { location, credentials, notes }: { location: SftpLocation; credentials: Credentials; notes: string[] },
): PrimaError {
  const doing = `connecting to ${location.url}`;
  if (cause.level !== 'client-authentication') {
    return new RemoteError(`${doing}: ${cause.message}`, { retryable: true, cause });
  }
  const met = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return new PrimaError(
    'permission',
    `${doing}: the server does not let ${location.user} in with ${credentials.tried.join(', ')}${met}; is the public ` +
      `key in ${location.user}'s authorized_keys there? Another key is named by ?identity=FILE`,
    { cause },
  );
}

function opened(client: Client, { url }: SftpLocation, destroy: () => void): Promise<SftpConnection> {
  const loss = new Loss();
  client.on('error', (error) => loss.tell(error.message));
  client.on('close', () => loss.tell('the connection was closed'));
  return new Promise((resolve, reject) => {
    loss.on((reason) => reject(new RemoteError(`connecting to ${url}: ${reason}`, { retryable: true })));
    client.sftp((error, sftp) => {
      if (error) {
        const message = `connecting to ${url}: the server gives no SFTP: ${error.message}`;
        reject(new PrimaError('unsupported', message, { cause: error }));
        return;
      }
      sftp.on('error', (failure: Error) => loss.tell(failure.message));
      sftp.on('close', () => loss.tell('the server ended SFTP'));
      resolve({ sftp, destroy, onLost: (listener) => loss.on(listener) });
    });
  });
}

/** Tells once, to everybody who wants to know, also to who asks too late. */
class Loss {
  #reason: string | undefined;
  readonly #listeners: ((reason: string) => void)[] = [];

  on(listener: (reason: string) => void): void {
    if (this.#reason === undefined) this.#listeners.push(listener);
    else listener(this.#reason);
  }

  tell(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    for (const listener of this.#listeners.splice(0)) listener(reason);
  }
}
