/** What every operation shares: the home, the hosts, the repository (opened once, when first needed), the journal. */
import type { CallOptions, HostDto, JobEvent } from '@prima/api';
import {
  createLogger,
  type Logger,
  PrimaError,
  type Progress,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { Journal } from '@prima/engine';
import type { Platform } from '@prima/platforms';
import type { Repository, Secret } from '@prima/repository';
import type { ObjectStore } from '@prima/storage';
import type { Home } from './home.ts';
import { HostRegistry } from './host-registry.ts';
import type { LogRelay } from './log-relay.ts';
import { type NewRepository, RepositoryAccess, type StoreSettings } from './repository-access.ts';

export interface ContextOptions {
  home: Home;
  access: RepositoryAccess;
  /** For repositories that are opened besides. */
  store?: StoreSettings;
  logger: Logger;
  /** What is logged outside of calls, by the repository and its store, is heard by the calls under way. */
  relay: LogRelay;
}

/** One call of an operation. */
export interface Call {
  /** Aborted when the caller aborts, or the application is closed. */
  signal: AbortSignal;
  /** To the caller and to the application's own logger. */
  logger: Logger;
  onProgress: (subject: string, progress: Progress) => void;
}

export class Context {
  readonly home: Home;
  readonly hosts: HostRegistry;
  readonly #options: ContextOptions;
  readonly #closing = new AbortController();
  readonly #calls = new Set<Promise<unknown>>();
  /** By kind and location; a registered host may be another by the next call. */
  readonly #platforms = new Map<string, Promise<Platform>>();

  constructor(options: ContextOptions) {
    this.#options = options;
    this.home = options.home;
    this.hosts = new HostRegistry(options.home.hosts);
  }

  /** Runs one call; when the application is closed meanwhile it is cancelled and waited for. */
  async run<T>(options: CallOptions | undefined, task: (call: Call) => Promise<T>): Promise<T> {
    const { signal, onEvent } = options ?? {};
    const own = this.#closing.signal;
    throwIfAborted(own, 'calling an application that is closed');
    const call: Call = {
      signal: signal ? AbortSignal.any([signal, own]) : own,
      logger: this.#loggerFor(onEvent),
      onProgress: (subject, progress) => onEvent?.(progressEvent(subject, progress)),
    };
    const stopListening = this.#options.relay.listen((event) => onEvent?.({ type: 'log', ...event }));
    const running = task(call);
    this.#calls.add(running);
    try {
      return await running;
    } catch (error) {
      throw toPrimaError(error, 'working');
    } finally {
      this.#calls.delete(running);
      stopListening();
    }
  }

  get hasRepository(): boolean {
    return this.#options.access.isNamed;
  }

  repositoryUrl(): string {
    return this.#options.access.url();
  }

  async openStore(options: { create?: boolean }): Promise<ObjectStore> {
    return await this.#options.access.openStore(options);
  }

  /** Another copy of the repository's storage, for one call; close it. */
  async openCopy(url: string): Promise<ObjectStore> {
    return await this.anotherRepository(url, () => this.secret()).openStore();
  }

  async secret(): Promise<Secret> {
    return await this.#options.access.secret();
  }

  async repository(): Promise<Repository> {
    return await this.#options.access.open();
  }

  /** A second repository, for one call; close it. Raises what opening the first raises. */
  anotherRepository(url: string, secret: () => Promise<Secret>): RepositoryAccess {
    const { relay, store } = this.#options;
    const { logger } = relay;
    return new RepositoryAccess({ repository: url, secret, logger, store, home: this.home });
  }

  async createRepository(options: NewRepository): Promise<Repository> {
    return await this.#options.access.create(options);
  }

  /** The driver of a registered host. Raises `not-found`. */
  async platform(name: string): Promise<Platform> {
    return this.platformOf(await this.hosts.get(name));
  }

  async platformOf(host: HostDto): Promise<Platform> {
    const key = `${host.platform} ${host.location} ${host.name}`;
    const opened = this.#platforms.get(key) ?? openPlatform(host);
    this.#platforms.set(key, opened);
    try {
      return await opened;
    } catch (error) {
      this.#platforms.delete(key);
      throw error;
    }
  }

  async #journal(logger: Logger): Promise<Journal> {
    const [{ Journal: Opened }, { removeDemoFolder }] = await Promise.all([
      import('@prima/engine/backup'),
      import('./demo/folder.ts'),
    ]);
    return new Opened(this.home.journal, {
      logger,
      recoverHost: (host) => this.#recoverHost(host, logger),
      removePrivateHost: removeDemoFolder,
    });
  }

  /** Undoes what dead processes left, and says so. Called before work that touches machines or files. */
  async recover(logger: Logger): Promise<Journal> {
    const journal = await this.#journal(logger);
    await journal.recover();
    return journal;
  }

  /** Cancels what runs, waits for it, closes the repository. May be called again. */
  async close(): Promise<void> {
    this.#closing.abort(new PrimaError('cancelled', 'cancelled: Prima is ending'));
    await Promise.allSettled(this.#calls);
    for (const platform of await Promise.allSettled(this.#platforms.values())) {
      if (platform.status === 'fulfilled') await platform.value.close();
    }
    await this.#options.access.close();
  }

  async #recoverHost(name: string, logger: Logger): Promise<string[]> {
    const host = (await this.hosts.list()).find((known) => known.name === name);
    if (!host) {
      logger.warn(`the host ${name} is no longer registered; what was begun there is left as it is`);
      return [];
    }
    const platform = await this.platformOf(host);
    const recoveries = await platform.recover();
    const left = recoveries.flatMap(({ machine, left: texts }) => texts.map((text) => `${machine}: ${text}`));
    if (left.length > 0) throw new PrimaError('state', left.join('; '));
    return recoveries.flatMap(({ machine, undone }) => undone.map((text) => `${name}/${machine}: ${text}`));
  }

  #loggerFor(onEvent: CallOptions['onEvent']): Logger {
    const { logger } = this.#options;
    return createLogger(({ level, message, fields }) => {
      logger[level](message, fields);
      onEvent?.({ type: 'log', level, message, fields });
    });
  }
}

async function openPlatform({ name, platform, location }: HostDto): Promise<Platform> {
  const { openLibvirtHost, openQemuHost } = await import('@prima/platforms');
  return platform === 'libvirt' ? openLibvirtHost(name, location) : await openQemuHost(name, location);
}

function progressEvent(subject: string, progress: Progress): JobEvent {
  const { done, total, read, stored, bottleneck } = progress;
  return { type: 'progress', subject, done, total, read, stored, bottleneck };
}
