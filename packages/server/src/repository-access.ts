/** The one repository of an application: where it is, what opens it, and itself, opened once, when first needed. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { type Logger, UserError } from '@prima/base';
import {
  createRepository,
  type CreateOptions,
  type OpenOptions,
  openRepository,
  type Repository,
  type Secret,
} from '@prima/repository';
import type { Home } from './home.ts';
import { seenHeads } from './seen-heads.ts';
import { type ObjectStore, openRepositoryStore, type RepositoryStoreOptions } from '@prima/storage';

export interface RepositoryAccessOptions {
  /** Where the repository is: a folder's path or a URL. */
  repository?: string;
  /** Asked only when the repository is opened or made. */
  secret?: () => Promise<Secret>;
  /** For what was read and may be lost, and for what was seen. */
  home: Pick<Home, 'cache' | 'repositories'>;
  store?: StoreSettings;
  /** Chunks are moved as soon as it is open. */
  movesChunks?: boolean;
  logger: Logger;
}

/** How stores are used; see `openRepositoryStore`. */
export type StoreSettings = Pick<RepositoryStoreOptions, 'upload' | 'download' | 'cacheBytes'>;

/** A store that is slower than this, or a person who is asked, is waited for while something else is done. */
const preparingMs = 200;

export type NewRepository = Pick<CreateOptions, 'chunkSize' | 'level' | 'readBack' | 'label' | 'lockMs'>;

export class RepositoryAccess {
  readonly #options: RepositoryAccessOptions;
  #repository: Promise<Repository> | undefined;

  constructor(options: RepositoryAccessOptions) {
    this.#options = options;
  }

  /** True when a repository was named. */
  get isNamed(): boolean {
    return this.#options.repository !== undefined;
  }

  /** The repository's URL. Raises `usage` when none was named. */
  url(): string {
    const { repository } = this.#options;
    if (repository !== undefined && repository !== '') return repository;
    throw new UserError('usage', 'no repository is named; give --repo URL or set PRIMA_REPO');
  }

  /** What opens the repository. Raises `usage` when there is nothing to ask. */
  async secret(): Promise<Secret> {
    if (this.#options.secret) return this.#options.secret();
    throw new UserError(
      'usage',
      'nothing opens the repository; give --passphrase-file or set PRIMA_PASSPHRASE',
    );
  }

  /**
   * Begins to open the repository, for an operation that comes soon and gets what this raises. Resolves when the key is
   * being made of the secret, on another thread, or soon after: loading modules on this one would only delay it.
   */
  async prepare(): Promise<void> {
    const moment = Promise.withResolvers<void>();
    setTimeout(moment.resolve, preparingMs).unref();
    this.#repository ??= this.#open(moment.resolve);
    const settled = () => moment.resolve();
    this.#repository.then(settled, settled); // `open` raises what it raises
    await moment.promise;
    await setImmediate();
  }

  /** The repository, opened at the first call; one that could not be opened is tried again. */
  async open(): Promise<Repository> {
    this.#repository ??= this.#open();
    try {
      return await this.#repository;
    } catch (error) {
      this.#repository = undefined;
      throw error;
    }
  }

  /** Makes the repository, which is open then. Raises `exists`, `usage`. */
  async create(request: NewRepository): Promise<Repository> {
    const secret = await this.secret();
    const store = await this.openStore({ create: true });
    try {
      const options = await this.#openOptions();
      const repository = await createRepository(store, { ...request, ...options, secret });
      this.#repository = Promise.resolve(repository);
      return repository;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const repository = this.#repository;
    this.#repository = undefined;
    // one that could not be opened was said to whoever asked for it
    const opened = await repository?.catch(() => undefined);
    await opened?.close();
  }

  /** The store of the repository, whether there is one in it or not. */
  async openStore(options: { create?: boolean } = {}): Promise<ObjectStore> {
    const { home, logger, store } = this.#options;
    return await openRepositoryStore(this.url(), {
      ...options,
      ...store,
      cacheFolder: join(home.cache, 'objects'),
      logger,
    });
  }

  /** @param onDerive called when the key begins to be made of the secret */
  async #open(onDerive?: () => void): Promise<Repository> {
    const store = await this.openStore();
    try {
      const [secret, options] = [await this.secret(), await this.#openOptions()];
      const { movesChunks = false } = this.#options;
      return await openRepository(store, secret, { ...options, movesChunks, ...(onDerive && { onDerive }) });
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  async #openOptions(): Promise<OpenOptions> {
    const { home, logger } = this.#options;
    await mkdir(home.cache, { recursive: true, mode: 0o700 });
    return { logger, cacheFolder: home.cache, trust: seenHeads(home.repositories) };
  }
}
