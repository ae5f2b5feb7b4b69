/**
 * Requests over one connection: each has a deadline and can be cancelled, a bounded number is under way, and when
 * the connection is lost or the server falls silent all of them end with an error that says so.
 */
import { RemoteError, Semaphore, StorageError, throwIfAborted, toPrimaError } from '@prima/base';
import type { SFTPWrapper } from 'ssh2';
import type { SftpConnection } from './connection.ts';

/** Requests under way at once; with pieces of 32 KiB this is the 2 MiB that ssh2 lets a channel hold. */
const requestsLimit = 64;
/** However much else the server answers, a request that is this many deadlines old is given up. */
const patience = 10;

/** draft-ietf-secsh-filexfer-02, section 7. */
export const Status = {
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  OP_UNSUPPORTED: 8,
} as const;

/** Answers as ssh2 gives them. */
export type Answer<T> = (error: Error | null | undefined, value?: T) => void;

/** The connection, not the request, failed: the same may be asked again over a new one. */
export class LostConnectionError extends RemoteError {
  override name = 'LostConnectionError';
  constructor(message: string, code: 'remote' | 'timeout' = 'remote') {
    super(message, { code, retryable: true });
  }
}

/** The server refused a request; `status` as in the draft. */
export class SftpStatusError extends StorageError {
  override name = 'SftpStatusError';
  readonly status: number;
  constructor(doing: string, status: number, cause: Error) {
    const code = ({ 2: 'not-found', 3: 'permission', 8: 'unsupported' } as const)[status] ?? 'io';
    super(code, `${doing}: the server answers "${cause.message}"`, { cause, details: { status } });
    this.status = status;
  }
}

export class SftpSession {
  readonly #connection: SftpConnection;
  readonly #timeoutMs: number;
  readonly #gate = new Semaphore(requestsLimit);
  readonly #outstanding = new Set<(error: Error) => void>();
  #lastHeard = 0;
  #lost: LostConnectionError | undefined;

  constructor(connection: SftpConnection, options: { timeoutMs: number; url: string }) {
    this.#connection = connection;
    this.#timeoutMs = options.timeoutMs;
    connection.onLost((reason) =>
      this.#fail(new LostConnectionError(`the connection to ${options.url} was lost: ${reason}`)),
    );
  }

  get lost(): boolean {
    return this.#lost !== undefined;
  }

  /**
   * Asks the server. `ask` calls one method of ssh2 with the callback it gets. Raises what the server refuses as
   * `SftpStatusError`, and `LostConnectionError` when no answer will come.
   */
  async request<T>(
    doing: string,
    ask: (sftp: SFTPWrapper, answer: Answer<T>) => void,
    signal?: AbortSignal,
  ): Promise<T> {
    const release = await this.#gate.acquire();
    try {
      throwIfAborted(signal, doing);
      if (this.#lost) throw this.#lost;
      return await this.#ask(doing, ask, signal);
    } finally {
      release();
    }
  }

  /** Ends the connection; requests under way end with an error. May be called again. */
  close(): void {
    this.#fail(new LostConnectionError('the store was closed'));
  }

  #ask<T>(
    doing: string,
    ask: (sftp: SFTPWrapper, answer: Answer<T>) => void,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#outstanding.add(reject);
    const stopWatching = this.#watch(doing);
    const onAbort = () => reject(toPrimaError(signal?.reason, doing));
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      ask(this.#connection.sftp, (error, value) => {
        this.#lastHeard = performance.now();
        if (!error) resolve(value as T);
        else if ('code' in error && typeof error.code === 'number') {
          reject(new SftpStatusError(doing, error.code, error));
        } else reject(this.#lost ?? new LostConnectionError(`${doing}: ${error.message}`));
      });
    } catch (error) {
      // ssh2 raises before it sends: the server did not announce an extension
      reject(new StorageError('unsupported', `${doing}: ${(error as Error).message}`, { cause: error }));
    }
    return promise.finally(() => {
      stopWatching();
      signal?.removeEventListener('abort', onAbort);
      this.#outstanding.delete(reject);
    });
  }

  /** Gives the connection up when the server has said nothing at all for as long as the deadline. */
  #watch(doing: string): () => void {
    const sent = performance.now();
    let timer: NodeJS.Timeout;
    const look = () => {
      const now = performance.now();
      const silent = now - Math.max(sent, this.#lastHeard);
      const left = Math.min(this.#timeoutMs - silent, patience * this.#timeoutMs - (now - sent));
      if (left > 0) timer = setTimeout(look, left);
      else {
        const seconds = this.#timeoutMs / 1000;
        this.#fail(new LostConnectionError(`${doing}: no answer within ${seconds} s`, 'timeout'));
      }
    };
    timer = setTimeout(look, this.#timeoutMs);
    return () => clearTimeout(timer);
  }

  #fail(error: LostConnectionError): void {
    if (this.#lost) return;
    this.#lost = error;
    this.#connection.destroy();
    for (const reject of this.#outstanding) reject(error);
  }
}
