/** The store's one connection: made when it is first needed, shared by all calls, made anew when it was lost. */
import { type Logger, RemoteError, throwIfAborted, toPrimaError, unlessAborted } from '@prima/base';
import { connectSftp } from './connection.ts';
import type { FileCall } from './files.ts';
import type { SftpLocation } from './location.ts';
import { LostConnectionError, SftpSession } from './session.ts';

export class SftpLine {
  readonly #location: SftpLocation;
  readonly #logger: Logger;
  #session: Promise<SftpSession> | undefined;
  #closed = false;

  constructor(location: SftpLocation, logger: Logger) {
    this.#location = location;
    this.#logger = logger;
  }

  /**
   * Runs `task` over the connection, and once more over a new one when it was lost meanwhile: what a task does may be
   * done twice.
   */
  async call<T>(
    doing: string,
    signal: AbortSignal | undefined,
    task: (call: FileCall) => Promise<T>,
  ): Promise<T> {
    throwIfAborted(signal, doing);
    const attempt = async () => {
      const session = await unlessAborted(this.#connected(), doing, signal);
      return task({ session, doing, ...(signal && { signal }) });
    };
    try {
      return await attempt().catch((error: unknown) => {
        if (!(error instanceof RemoteError && isLost(error)) || this.#closed) throw error;
        this.#logger.info(`${error.message}; connecting anew`);
        return attempt();
      });
    } catch (error) {
      throw toPrimaError(error, doing);
    }
  }

  /** Calls under way end with an error. May be called again. */
  async close(): Promise<void> {
    this.#closed = true;
    const session = this.#session;
    this.#session = undefined;
    const opened = await session?.catch(() => undefined); // one that failed was told to who asked
    opened?.close();
  }

  async #connected(): Promise<SftpSession> {
    const known = this.#session;
    const current = await known;
    if (current && !current.lost) return current;
    if (this.#closed) throw new LostConnectionError(`${this.#location.url} was closed`);
    if (this.#session === known) {
      const session = this.#connect();
      this.#session = session;
      session.catch(() => {
        if (this.#session === session) this.#session = undefined; // the next call tries again
      });
    }
    return this.#connected();
  }

  async #connect(): Promise<SftpSession> {
    const { timeoutMs, url } = this.#location;
    const connection = await connectSftp(this.#location, { logger: this.#logger });
    return new SftpSession(connection, { timeoutMs, url });
  }
}

/** Lost while it was used, or broken off while it was made; one that cannot be made in time is not tried twice. */
function isLost(error: RemoteError): boolean {
  return error instanceof LostConnectionError || (error.retryable && error.code === 'remote');
}
