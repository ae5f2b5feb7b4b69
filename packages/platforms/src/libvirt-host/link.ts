/** The connection to a host's daemon, made when it is first needed and again after it was lost. */
import { mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Logger, Mutex, silentLogger, toPrimaError } from '@prima/base';
import { connectLibvirt, type LibvirtConnection, parseLibvirtUri } from '@prima/libvirt';
import { isAbsentFolder, withPoolOver } from './host-files.ts';

export interface LinkOptions {
  logger?: Logger;
  /** For connecting. Default 30 s. */
  timeoutMs?: number;
}

export class HostLink {
  readonly uri: string;
  readonly transport: 'unix' | 'ssh' | 'tls' | 'tcp';
  readonly #options: LinkOptions;
  readonly #connecting = new Mutex();
  #connection: LibvirtConnection | undefined;
  #isLocal: Promise<boolean> | undefined;

  /** Raises `usage` for what is no address of libvirt. */
  constructor(uri: string, options: LinkOptions = {}) {
    this.uri = uri;
    this.transport = parseLibvirtUri(uri).target.transport;
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

  /** Whether the daemon runs on this machine: its paths are ours. A unix socket may be another machine's that is forwarded. */
  async isLocal(signal?: AbortSignal): Promise<boolean> {
    if (this.transport !== 'unix') return false;
    this.#isLocal ??= this.connection(signal).then(seesOurFolders);
    this.#isLocal.catch(() => (this.#isLocal = undefined));
    return this.#isLocal;
  }

  /** May be called again; the next call of `connection` connects anew. */
  async close(): Promise<void> {
    await this.#connecting.run(async () => {
      await this.#connection?.close();
      this.#connection = undefined;
    });
  }
}

/** A folder is made here that has a name like no other: is it there? A daemon that does not say is taken for this machine's. */
async function seesOurFolders(connection: LibvirtConnection): Promise<boolean> {
  let folder: string;
  try {
    folder = await mkdtemp(join(tmpdir(), 'prima-here-'));
  } catch (error) {
    toPrimaError(error, 'making a folder'); // nothing to ask about
    return true;
  }
  try {
    await withPoolOver(connection, folder, () => Promise.resolve());
    return true;
  } catch (error) {
    const failure = toPrimaError(error, 'looking whether the daemon is on this machine');
    if (connection.failure || failure.code === 'cancelled') throw failure;
    return !isAbsentFolder(failure);
  } finally {
    await rmdir(folder);
  }
}
