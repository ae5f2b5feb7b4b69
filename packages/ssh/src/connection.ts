/** A logged-in connection to an SSH server whose key is the known one. ssh2 is loaded when the first is made. */
import { connect as connectSocket, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Logger, PrimaError, RemoteError, type UserError, withDeadline } from '@prima/base';
import type { Client, ClientChannel } from 'ssh2';
import { type Credentials, loadCredentials } from './credentials.ts';
import { HostKeyCheck } from './host-key.ts';
import type { SshLocation } from './location.ts';

const keepaliveMs = 15_000;
const keepaliveMisses = 4;

/** Why a server opens no channel (RFC 4254, 5.1), as ssh2 tells it. */
const OPEN_CONNECT_FAILED = 2;

export interface SshConnection {
  /** ssh2's own, for protocols that it has. */
  readonly client: Client;
  /** Calls `listener` once when the connection is gone, with the reason where one is known. The result takes it away. */
  onLost(listener: (reason: string) => void): () => void;
  /**
   * A connection to a unix socket of the server (`direct-streamlocal@openssh.com`). Raises `remote` (retryable) when that does
   * not come about (OpenSSH does not say whether nobody listens or it may not be), `unsupported` when the server is not
   * OpenSSH, `timeout`, `cancelled`.
   */
  openUnix(path: string, signal?: AbortSignal): Promise<Duplex>;
  /**
   * Runs a command of the server's shell; its input and output are the stream, what it says about errors is in
   * `said`. Raises as `openUnix` does.
   */
  run(command: string, signal?: AbortSignal): Promise<RemoteCommand>;
  /** Ends it at once; nothing is waited for. */
  destroy(): void;
}

export interface RemoteCommand {
  readonly stream: Duplex;
  /** The end of its error output so far. */
  said(): string;
  /** Its exit status, once it has ended; undefined when it was killed or the connection lost. */
  readonly ended: Promise<number | undefined>;
}

/**
 * Raises `refused` for a host key that is unknown or another than known, `permission` when the server lets us not
 * in, `remote` (retryable) and `timeout` when it cannot be reached.
 */
export async function connectSsh(
  location: SshLocation,
  options: { logger: Logger; signal?: AbortSignal },
): Promise<SshConnection> {
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
    return await withDeadline(
      location.timeoutMs,
      `connecting to ${location.url}`,
      async () => {
        await reached(socket, location);
        await loggedIn(client, socket, { location, hostKey, credentials });
        return new Connection(client, location, destroy);
      },
      options.signal,
    );
  } catch (error) {
    destroy();
    throw error;
  }
}

/** Waits for the connection itself, so that a name that does not resolve is not taken for a refused login. */
function reached(socket: Socket, { url }: SshLocation): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.on('error', (cause) => {
      reject(new RemoteError(`connecting to ${url}: ${cause.message}`, { retryable: true, cause }));
    });
  });
}

interface Login {
  location: SshLocation;
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
  { location, credentials, notes }: { location: SshLocation; credentials: Credentials; notes: string[] },
): PrimaError {
  const doing = `connecting to ${location.url}`;
  if (cause.level !== 'client-authentication') {
    return new RemoteError(`${doing}: ${cause.message}`, { retryable: true, cause });
  }
  const met = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  return new PrimaError(
    'permission',
    `${doing}: the server does not let ${location.user} in with ${credentials.tried.join(', ')}${met}; is the public ` +
      `key in ${location.user}'s authorized_keys there? Another key is named by ?${location.identityParameter}=FILE`,
    { cause },
  );
}

class Connection implements SshConnection {
  readonly client: Client;
  readonly destroy: () => void;
  readonly #location: SshLocation;
  readonly #listeners = new Set<(reason: string) => void>();
  #lost: string | undefined;

  constructor(client: Client, location: SshLocation, destroy: () => void) {
    this.client = client;
    this.destroy = destroy;
    this.#location = location;
    client.on('error', (error) => this.#lose(error.message));
    client.on('close', () => this.#lose('the connection was closed'));
  }

  onLost(listener: (reason: string) => void): () => void {
    if (this.#lost === undefined) this.#listeners.add(listener);
    else listener(this.#lost);
    return () => void this.#listeners.delete(listener);
  }

  async openUnix(path: string, signal?: AbortSignal): Promise<Duplex> {
    const doing = `connecting to socket ${path} through ${this.#location.url}`;
    return await this.#open(doing, signal, (answer) =>
      this.client.openssh_forwardOutStreamLocal(path, answer),
    );
  }

  async run(command: string, signal?: AbortSignal): Promise<RemoteCommand> {
    const doing = `running "${command}" on ${this.#location.host}`;
    const channel = await this.#open(doing, signal, (answer) => this.client.exec(command, answer));
    let said = '';
    channel.stderr.on('data', (data: Buffer) => (said = (said + data.toString()).slice(-2000)));
    const ended = new Promise<number | undefined>((resolve) => {
      channel.once('exit', (status: number | null) => resolve(status ?? undefined));
      channel.once('close', () => resolve(undefined));
    });
    return { stream: channel, said: () => said.trim(), ended };
  }

  /** Channels that come after nobody waits for them any more are closed. */
  async #open(
    doing: string,
    signal: AbortSignal | undefined,
    ask: (answer: (error: Error | undefined, channel: ClientChannel) => void) => void,
  ): Promise<ClientChannel> {
    const { promise, resolve, reject } = Promise.withResolvers<ClientChannel>();
    const forget = this.onLost((reason) =>
      reject(new RemoteError(`${doing}: ${reason}`, { retryable: true })),
    );
    const opening = (inner: AbortSignal) => {
      try {
        ask((error, channel) => {
          if (error) reject(refusalOf(doing, error));
          else {
            channel.on('error', () => undefined); // it closes, which whoever uses it hears
            if (inner.aborted) channel.destroy();
            else resolve(channel);
          }
        });
      } catch (error) {
        // ssh2 raises before it sends: the server is none of OpenSSH's, or the connection is gone
        reject(refusalOf(doing, error instanceof Error ? error : new Error(String(error))));
      }
      return promise;
    };
    try {
      return await withDeadline(this.#location.timeoutMs, doing, opening, signal);
    } finally {
      forget();
    }
  }

  /** Tells once, to everybody who wants to know. */
  #lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#lost = reason;
    for (const listener of this.#listeners) listener(reason);
    this.#listeners.clear();
  }
}

function refusalOf(doing: string, cause: Error & { reason?: unknown }): PrimaError {
  if (cause.reason === OPEN_CONNECT_FAILED) {
    // OpenSSH has one answer for all of these
    const text = 'nobody listens there, the user may not connect, or the server forwards no sockets';
    return new RemoteError(`${doing}: ${text}`, { retryable: true, cause });
  }
  return new PrimaError('unsupported', `${doing}: the server does not do that: ${cause.message}`, { cause });
}
