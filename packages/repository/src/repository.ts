/**
 * Creating and opening repositories, and the operations of an open one. What only some operations need is loaded when they
 * are called: listing restore points, which every command does, is to begin at once.
 */
import { randomBytes } from 'node:crypto';
import {
  type Clock,
  type Logger,
  MiB,
  PrimaError,
  type Range,
  silentLogger,
  systemClock,
  UserError,
} from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import {
  type Config,
  configKey,
  isChunkSize,
  isLevel,
  isLockSeconds,
  parseConfig,
  verifyConfig,
  writeConfig,
} from './config.ts';
import { type Context, newContext, storingAt } from './context.ts';
import type {
  CheckReport,
  CollectReport,
  KeyRotation,
  KeySlotInfo,
  OpenDiskOptions,
  PointDevice,
  PointVerification,
  Repository,
  RepairReport,
  RepositoryStatus,
  RootKeyRotation,
  Secret,
  Trust,
  WriteSession,
} from './contract.ts';
import type { Point, PointDisk } from './point.ts';
import type { KdfCost } from './crypto/key-slot.ts';
import { type Keyring, openKeyring, readStoredKeys } from './crypto/keyring.ts';
import { ThreadReserve, usualThreads } from './pool/thread-reserve.ts';
import type { PointReader } from './session/point-reader.ts';
import { readOutcome } from './session/read-outcome.ts';
import { compareText, listSessions, markForgotten, readOutcomes, withLock } from './session/sessions.ts';

export interface OpenOptions {
  clock?: Clock;
  logger?: Logger;
  /** Worker threads for each session; 0: all work on the caller's. Default: what the machine runs side by side, 8 at most. */
  workers?: number;
  /** Chunks are moved as soon as it is open: threads start while it opens. */
  movesChunks?: boolean;
  /** Called when the key begins to be made of the secret, on another thread: what the caller does meanwhile costs no time. */
  onDerive?: () => void;
  /** Bytes at which a pack is closed. Default: what suits the store, else 32 MiB. */
  packBytes?: number;
  /** Stored bytes after which a backup makes a checkpoint. Default 8 GiB. */
  checkpointBytes?: number;
  /** A folder (it exists, mode 0700) for what may be lost at any time: listings are quicker with it. */
  cacheFolder?: string;
  /** What remembers the newest state seen: without it a rollback of the repository is not noticed. */
  trust?: Trust;
}

export interface CreateOptions extends OpenOptions {
  secret: Secret;
  label?: string;
  /** Bytes, a power of two, 256 KiB to 4 MiB. Default 1 MiB. */
  chunkSize?: number;
  /** zstd level of chunks, 1 to 19. Default 1. */
  level?: number;
  /** Decompress and compare each chunk before it is stored. Default true. */
  readBack?: boolean;
  /** Every point is locked for so long at least, whole seconds, at most ten years. Default: points are not locked. */
  lockMs?: number;
  /** What guessing the passphrase costs. Default: Argon2id with 64 MiB, 3 passes, 4 lanes. */
  kdfCost?: KdfCost;
}

/** Makes a new repository in an empty store and opens it. Raises `exists`, `usage`. */
export async function createRepository(store: ObjectStore, options: CreateOptions): Promise<Repository> {
  const { chunkSize = MiB, level = 1, readBack = true, secret, label = 'first' } = options;
  if (!isChunkSize(chunkSize))
    throw new UserError('usage', 'the chunk size is a power of two from 256 KiB to 4 MiB');
  if (!isLevel(level)) throw new UserError('usage', 'the compression level is a whole number from 1 to 19');
  const lock = options.lockMs === undefined ? {} : { lockSeconds: options.lockMs / 1000 };
  if (lock.lockSeconds !== undefined && !isLockSeconds(lock.lockSeconds))
    throw new UserError('usage', 'points are locked for a whole number of seconds, ten years at most');
  if (secret.kind === 'passphrase' && secret.text === '')
    throw new UserError('usage', 'the passphrase is empty');
  const { clock = systemClock, logger = silentLogger } = options;
  const [{ prepareEmptyPlace }, { createKeys }] = await Promise.all([
    import('./maintenance/empty-place.ts'),
    import('./maintenance/key-slots.ts'),
  ]);
  await prepareEmptyPlace(store, clock, logger);
  const created = new Date(clock.now()).toISOString();
  const config: Config = {
    id: randomBytes(16).toString('hex'),
    created,
    chunkSize,
    level,
    readBack,
    ...lock,
  };
  const keyring = await createKeys(store, secret, {
    repositoryId: config.id,
    label,
    created,
    level,
    ...(options.kdfCost ? { cost: options.kdfCost } : {}),
  });
  const text = writeConfig(config, keyring.signer());
  if ((await store.putIfAbsent(configKey, Buffer.from(text))) === 'exists')
    throw new PrimaError('exists', `${store.url} holds a repository already`);
  return new OpenRepository(store, { config, keyring, secret, threads: new ThreadReserve() }, options);
}

/** Opens a repository. Raises `not-found`, `wrong-key`, `newer-version`, `integrity`. */
export async function openRepository(
  store: ObjectStore,
  secret: Secret,
  options: OpenOptions = {},
): Promise<Repository> {
  const { logger = silentLogger, movesChunks = false, workers = usualThreads(), onDerive } = options;
  const keys = readStoredKeys(store);
  keys.catch(() => undefined); // raised below, unless there is no repository at all
  const threads = new ThreadReserve(movesChunks ? workers : 0);
  try {
    const text = await readConfig(store);
    const config = parseConfig(text);
    const { id: repositoryId, level } = config;
    const about = { repositoryId, level, logger, stored: await keys, onDerive };
    const keyring = await openKeyring(store, secret, about);
    verifyConfig(text, config.id, keyring.keySet.signers);
    return new OpenRepository(store, { config, keyring, secret, threads }, options);
  } catch (error) {
    await threads.close();
    throw error;
  }
}

async function readConfig(store: ObjectStore): Promise<string> {
  try {
    return Buffer.from(await store.get(configKey)).toString();
  } catch (error) {
    if (!(error instanceof PrimaError) || error.code !== 'not-found') throw error;
    throw new PrimaError('not-found', `there is no repository in ${store.url}; make one with: prima init`);
  }
}

class OpenRepository implements Repository {
  readonly #context: Context;
  /** What opened it. */
  readonly #secret: Secret;
  readonly #warned = new Set<string>();
  #reader: Promise<PointReader> | undefined;

  constructor(
    store: ObjectStore,
    opened: { config: Config; keyring: Keyring; secret: Secret; threads: ThreadReserve },
    options: OpenOptions,
  ) {
    const { config, keyring, threads } = opened;
    this.#secret = opened.secret;
    const parts = {
      store,
      keyring,
      chunkSize: config.chunkSize,
      readBack: config.readBack,
      lockMs: config.lockSeconds === undefined ? undefined : config.lockSeconds * 1000,
      packBytes: options.packBytes ?? store.packBytes ?? 32 * MiB,
      workers: options.workers,
      threads,
      checkpointBytes: options.checkpointBytes,
      clock: options.clock ?? systemClock,
      logger: options.logger ?? silentLogger,
    };
    this.#context = newContext(parts, options);
  }

  get id(): string {
    return this.#context.id;
  }

  get url(): string {
    return this.#context.store.url;
  }

  get chunkSize(): number {
    return this.#context.chunkSize;
  }

  async beginBackup(options: Parameters<Repository['beginBackup']>[0] = {}): Promise<WriteSession> {
    const { readBack = this.#context.readBack, machine, storeRate, signal } = options;
    const { checkpointBytes } = this.#context;
    const { BackupSession } = await import('./session/backup-session.ts');
    const context = storeRate === undefined ? this.#context : storingAt(this.#context, storeRate);
    return await BackupSession.begin(context, { readBack, machine, signal, checkpointBytes });
  }

  async points(): Promise<Point[]> {
    const fault = await this.#context.log.inspect();
    if (fault !== undefined) this.#warn(`${fault}; points may be missing: prima check`);
    const wanted = this.#context.log.points ?? 0;
    const listed = await listSessions(this.#context, { namesOnly: true });
    const sessions = await readOutcomes(this.#context, listed, (_id, { message }) =>
      this.#warn(`${message}; this restore point is left out, see: prima check`),
    );
    const points = sessions.flatMap(({ outcome, isForgotten, lockedUntil }) =>
      outcome.state === 'committed' && outcome.point && !isForgotten
        ? [withLock(outcome.point, lockedUntil)]
        : [],
    );
    // the count may be off by points that are just being forgotten: only then the log is read
    if (points.length < wanted) {
      const { missingPoints } = await import('./maintenance/missing-points.ts');
      for (const text of await missingPoints(this.#context)) this.#warn(text);
    } else await this.#context.catalogue.tidy(new Set(listed.map(({ id }) => id))); // what is gone may be needed for a repair
    return points.sort((a, b) => compareText(a.time, b.time) || compareText(a.id, b.id));
  }

  async openDisk(point: Point, name: string, options: OpenDiskOptions = {}): Promise<PointDevice> {
    return await (await this.#reading()).openDisk(point, name, options);
  }

  async readFile(point: Point, name: string): Promise<Uint8Array> {
    return await (await this.#reading()).readFile(point, name);
  }

  async verification(point: Point, signal?: AbortSignal): Promise<PointVerification> {
    const { pointVerification } = await import('./maintenance/point-verification.ts');
    return await pointVerification(this.#context, point, signal);
  }

  async difference(a: PointDisk, b: PointDisk): Promise<Range[]> {
    return await (await this.#reading()).difference(a, b);
  }

  async forget(point: Point): Promise<void> {
    this.#context.keyring.signer('forgetting a point');
    await this.#context.keyring.refresh(); // what an old signer marks is not believed
    const { assertUnlocked } = await import('./session/locks.ts');
    await assertUnlocked(this.#context, point.id);
    await this.#context.log.assertSound('forgetting a point');
    const { digest } = await readOutcome(this.#context, point.id);
    if (!(await markForgotten(this.#context, point.id))) return;
    await this.#context.log.append({ event: 'forgotten', session: point.id, outcome: digest });
  }

  async lock(...[point, until, options]: Parameters<Repository['lock']>): Promise<Point> {
    this.#context.keyring.signer('locking a point');
    const { extendLock } = await import('./session/locks.ts');
    return await extendLock(this.#context, point, until, options);
  }

  async check(options: Parameters<Repository['check']>[0]): Promise<CheckReport> {
    const { check } = await import('./maintenance/check.ts');
    return await check(this.#context, options);
  }

  async repair(options: Parameters<Repository['repair']>[0]): Promise<RepairReport> {
    const { repair } = await import('./maintenance/repair.ts');
    const report = await repair(this.#context, options);
    (await this.#reader)?.forgetIndex();
    return report;
  }

  async collect(options: Parameters<Repository['collect']>[0]): Promise<CollectReport> {
    const { collect } = await import('./maintenance/collect.ts');
    const report = await collect(this.#context, options);
    (await this.#reader)?.forgetIndex();
    return report;
  }

  async status(): Promise<RepositoryStatus> {
    const { RepositoryIndex } = await import('./index/repository-index.ts');
    const index = await RepositoryIndex.load(this.#context);
    let storedBytes = 0;
    for (const pack of index.packs) storedBytes += pack.size;
    return {
      id: this.id,
      url: this.url,
      chunkSize: this.chunkSize,
      points: (await this.points()).length,
      packs: index.packs.length,
      storedBytes,
      blobs: index.size,
    };
  }

  async keySlots(): Promise<KeySlotInfo[]> {
    const { listKeySlots } = await import('./maintenance/key-slots.ts');
    return await listKeySlots(this.#context);
  }

  async addKeySlot(
    secret: Secret,
    label: string,
    options: { readOnly?: boolean } = {},
  ): Promise<KeySlotInfo> {
    const { addKeySlot } = await import('./maintenance/key-slots.ts');
    return await addKeySlot(this.#context, secret, { label, ...options });
  }

  async removeKeySlot(id: string, options: { force?: boolean } = {}): Promise<void> {
    const { removeKeySlot } = await import('./maintenance/key-slots.ts');
    await removeKeySlot(this.#context, id, options);
  }

  async rotateKeys(): Promise<KeyRotation> {
    const { rotateKeys } = await import('./maintenance/key-slots.ts');
    return await rotateKeys(this.#context);
  }

  async rotateRootKey(
    ...[others, options]: Parameters<Repository['rotateRootKey']>
  ): Promise<RootKeyRotation> {
    const { rotateRootKey } = await import('./maintenance/root-key.ts');
    return await rotateRootKey(this.#context, [this.#secret, ...others], options);
  }

  async close(): Promise<void> {
    await (await this.#reader)?.close();
    await this.#context.threads.close();
    await this.#context.store.close();
  }

  /** Says a thing once. */
  #warn(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#context.logger.warn(message);
  }

  async #reading(): Promise<PointReader> {
    this.#reader ??= import('./session/point-reader.ts').then(
      ({ PointReader: Opened }) => new Opened(this.#context),
    );
    return await this.#reader;
  }
}
