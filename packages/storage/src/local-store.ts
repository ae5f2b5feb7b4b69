/**
 * Objects as files in a folder: the key `packs/ab/cd` is the file `packs/ab/cd`. Files have mode
 * 0600, folders 0700. Creation is atomic by link(2), so the file system has to know hard links.
 */
import { type FileHandle, mkdir, open, readdir, realpath, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  createFile,
  KiB,
  type PrimaError,
  StorageError,
  syncFolder,
  systemErrorCode,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type FileSystemProbe, isNear, settleMsOf } from './file-system.ts';
import { listFolder } from './local-list.ts';
import { tidyFolder } from './local-leftovers.ts';
import { LocalLooks } from './local-looks.ts';
import { roomLeft } from './local-room.ts';
import type {
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectRange,
  ObjectStore,
  StoreCallOptions,
} from './object-store.ts';
import { SettledNames } from './settled-names.ts';
import { onceMoreWhenStale } from './stale.ts';
import {
  assertKey,
  assertPrefix,
  bodyLength,
  missingObject,
  piecesOf,
  rangeWithin,
  tooShort,
} from './store-key.ts';
import { isAbsent, unlessAbsent } from './unless-absent.ts';

/** Records of sessions and of the log have a kilobyte or a few. */
const smallBytes = 64 * KiB;

export interface LocalStoreOptions {
  /** Makes the folder when it is not there. Default false. */
  create?: boolean;
  /** Tells what the folder is on; tests bring their own. */
  fileSystem?: FileSystemProbe;
}

/**
 * Opens the folder as a store. The first object that is stored removes what writers that died more than a day ago
 * left there.
 * Raises `not-found` when the folder is not there, `permission`, `no-space`.
 */
export async function openLocalStore(folder: string, options: LocalStoreOptions = {}): Promise<ObjectStore> {
  const root = resolve(folder);
  try {
    if (options.create === true) await makeFolders(root);
    await readdir(root); // raises when it is missing, no folder, or not for us
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') {
      throw new StorageError('not-found', `opening the store ${root}: there is no such folder`, {
        cause: error,
      });
    }
    throw toPrimaError(error, `opening the store ${root}`);
  }
  try {
    const path = await realpath(root);
    const settleMs = await settleMsOf(path, options.fileSystem);
    return new LocalStore(root, { settleMs, isNear: await isNear(path, options.fileSystem) });
  } catch (error) {
    throw toPrimaError(error, `looking at the file system of ${root}`);
  }
}

/** Makes `path` and the folders above it, and makes every name that is new durable. */
async function makeFolders(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made));
}

class LocalStore implements ObjectStore {
  readonly url: string;
  readonly settleMs: number;
  /** Folders whose own names, up to the root, are known to be durable, or are being made so. */
  readonly #durableFolders = new Map<string, Promise<void>>();
  readonly #settled = new SettledNames();
  readonly #isNear: boolean;
  readonly #looks: LocalLooks;
  #tidied: Promise<number> | undefined;

  constructor(root: string, at: { settleMs: number; isNear: boolean }) {
    this.url = root;
    this.settleMs = at.settleMs;
    this.#isNear = at.isNear;
    this.#looks = new LocalLooks(at.isNear);
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: StoreCallOptions = {},
  ): Promise<'created' | 'exists'> {
    assertKey(key);
    const doing = `storing ${key} in ${this.url}`;
    throwIfAborted(options.signal, doing);
    try {
      await this.#tidy();
      let tries = 0;
      const outcome = await onceMoreWhenStale(doing, () => {
        if (tries > 0) this.#durableFolders.clear(); // another computer removed a folder
        tries += 1;
        return this.#create(key, body, doing);
      });
      if (outcome === 'created' || tries === 1) return outcome;
      // the first try may have got as far as the name
      return Buffer.concat(piecesOf(body)).equals(await this.get(key)) ? 'created' : 'exists';
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') this.#durableFolders.clear(); // somebody removed a folder
      const failure = toPrimaError(error, doing);
      if (failure.code !== 'no-space') throw failure;
      const room = await roomLeft(this.url, bodyLength(body));
      throw new StorageError(
        'no-space',
        `${doing}: no room for its ${bodyLength(body)} bytes (${systemErrorCode(error)})${room}`,
        { cause: error },
      );
    }
  }

  /** Once; what keeps it from that raises for the one object, and is tried again for the next. */
  async #tidy(): Promise<void> {
    this.#tidied ??= tidyFolder(this.url, Date.now());
    await this.#tidied.catch((error: unknown) => {
      this.#tidied = undefined;
      throw error;
    });
  }

  async #create(key: string, body: ObjectBody, doing: string): Promise<'created' | 'exists'> {
    const path = join(this.url, key);
    await this.#durableFolder(dirname(path));
    if (await createFile(path, piecesOf(body))) return 'created';
    await this.#assertObject(path, doing);
    return 'exists';
  }

  /**
   * Makes a folder below the root where it is missing, and its name durable even where another
   * process has made it just now: an object is only as durable as the folders above it.
   */
  async #durableFolder(folder: string): Promise<void> {
    if (folder === this.url) return;
    let made = this.#durableFolders.get(folder);
    if (made === undefined) {
      made = this.#makeDurable(folder);
      this.#durableFolders.set(folder, made);
      made.catch(() => this.#durableFolders.delete(folder)); // the caller below gets the error
    }
    await made;
  }

  async #makeDurable(folder: string): Promise<void> {
    const parent = dirname(folder);
    await this.#durableFolder(parent);
    try {
      await mkdir(folder, { mode: 0o700 });
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error;
    }
    await syncFolder(parent);
  }

  async #assertObject(path: string, doing: string): Promise<void> {
    const found = await stat(path);
    if (!found.isFile()) throw new StorageError('exists', `${doing}: ${path} is there and is not a file`);
  }

  async get(key: string, range?: ObjectRange, options: StoreCallOptions = {}): Promise<Uint8Array> {
    assertKey(key);
    throwIfAborted(options.signal, `reading ${key} in ${this.url}`);
    try {
      const small = range === undefined ? await this.#getSmall(join(this.url, key)) : undefined;
      if (small) return small;
    } catch (error) {
      throw this.#readingError(key, error);
    }
    return await this.#reading(key, async (handle, size) => {
      const { offset, length } = rangeWithin({ key, url: this.url, size }, range);
      const bytes = Buffer.allocUnsafeSlow(length);
      await this.#fill(handle, { key, offset, size }, bytes);
      return bytes;
    });
  }

  async readInto(
    key: string,
    offset: number,
    into: Uint8Array,
    options: StoreCallOptions = {},
  ): Promise<void> {
    assertKey(key);
    throwIfAborted(options.signal, `reading ${key} in ${this.url}`);
    await this.#reading(key, async (handle, size) => {
      rangeWithin({ key, url: this.url, size }, { offset, length: into.length });
      await this.#fill(handle, { key, offset, size }, into);
    });
  }

  /** Opens the object for `work`, which gets its size. */
  async #reading<T>(key: string, work: (handle: FileHandle, size: number) => Promise<T>): Promise<T> {
    try {
      return await onceMoreWhenStale(`reading ${key} in ${this.url}`, async () => {
        await using handle = await open(join(this.url, key), 'r');
        const status = await handle.stat();
        if (!status.isFile()) throw missingObject(key, this.url);
        await this.#settled.assure(join(this.url, key), status.ctimeMs);
        return await work(handle, status.size);
      });
    } catch (error) {
      throw this.#readingError(key, error);
    }
  }

  #readingError(key: string, error: unknown): PrimaError {
    if (isAbsent(error)) return missingObject(key, this.url, error);
    return toPrimaError(error, `reading ${key} in ${this.url}`);
  }

  async #fill(
    handle: FileHandle,
    { key, offset, size }: { key: string; offset: number; size: number },
    into: Uint8Array,
  ): Promise<void> {
    const { length } = into;
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(into, done, length - done, offset + done);
      if (bytesRead === 0)
        throw tooShort({ key, url: this.url, size: Math.min(size, offset + done) }, { offset, length });
      done += bytesRead;
    }
  }

  /** What is small and near at hand is read without asking a thread for each step. */
  async #getSmall(path: string): Promise<Uint8Array | undefined> {
    await this.#looks.turn();
    const found = this.#looks.smallFile(path, smallBytes);
    if (found) await this.#settled.assure(path, found.status.ctimeMs);
    return found?.bytes;
  }

  async stat(key: string, options: StoreCallOptions = {}): Promise<ObjectInfo | undefined> {
    assertKey(key);
    throwIfAborted(options.signal, `looking for ${key} in ${this.url}`);
    try {
      const found = await onceMoreWhenStale(`looking for ${key} in ${this.url}`, () =>
        unlessAbsent(stat(join(this.url, key))),
      );
      return found?.isFile() ? { key, size: found.size, modified: found.mtimeMs } : undefined;
    } catch (error) {
      throw toPrimaError(error, `looking for ${key} in ${this.url}`);
    }
  }

  list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    assertPrefix(prefix);
    return listFolder(this.url, prefix, { ...options, isNear: this.#isNear });
  }

  async delete(key: string, options: StoreCallOptions = {}): Promise<void> {
    assertKey(key);
    throwIfAborted(options.signal, `deleting ${key} in ${this.url}`);
    const path = join(this.url, key);
    try {
      await unlessAbsent(unlink(path));
      await unlessAbsent(syncFolder(dirname(path))); // also where another caller was first
    } catch (error) {
      throw toPrimaError(error, `deleting ${key} in ${this.url}`);
    }
  }

  async close(): Promise<void> {
    // nothing is held open between calls
  }
}
