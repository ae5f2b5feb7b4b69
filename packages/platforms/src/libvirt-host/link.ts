/** The connection to a host's daemon, made when it is first needed and again after it was lost. */
import { type Logger, Mutex, silentLogger } from '@prima/base';
import { connectLibvirt, type LibvirtConnection, parseLibvirtUri } from '@prima/libvirt';

export interface LinkOptions {
  logger?: Logger;
  /** For connecting. Default 30 s. */
  timeoutMs?: number;
}

export class HostLink {
  readonly uri: string;
  /** The daemon runs on this machine: its paths are ours. */
  readonly isLocal: boolean;
  readonly #options: LinkOptions;
  readonly #connecting = new Mutex();
  #connection: LibvirtConnection | undefined;

  /** Raises `usage` for what is no address of libvirt. */
  constructor(uri: string, options: LinkOptions = {}) {
    this.uri = uri;
    this.isLocal = parseLibvirtUri(uri).target.transport === 'unix';
    this.#options = options;
  }

  /** Raises what connecting raises: `remote`, `permission`, `timeout` … */
  async connection(signal?: AbortSignal): Promise<LibvirtConnection> {
    return this.#connecting.run(async () => {
      if (this.#connection && !this.#connection.failure) return this.#connection;
      const { timeoutMs = 30_000, logger = silentLogger } = this.#options;
      this.#connection = await connectLibvirt(this.uri, { timeoutMs, logger, ...(signal ? { signal } : {}) });
      return this.#connection;
    });
  }

  /** May be called again; the next call of `connection` connects anew. */
  async close(): Promise<void> {
    await this.#connecting.run(async () => {
      await this.#connection?.close();
      this.#connection = undefined;
    });
  }
}
