/**
 * Objects as files in a folder of an SFTP server: the key `packs/ab/cd` is the file `packs/ab/cd`. An object is
 * written under a temporary name, synced (fsync@openssh.com) and then linked to its name (hardlink@openssh.com),
 * which fails where the name exists; a server without hard links cannot promise that and is refused. SFTP cannot
 * sync a folder: what a crash of the server leaves of new names is up to its file system.
 */
import { basename } from 'node:path/posix';
import { randomBytes } from 'node:crypto';
import {
  type Logger,
  PrimaError,
  silentLogger,
  StorageError,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type FolderEntry, walkFolders } from './folder-walk.ts';
import type {
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectRange,
  ObjectStore,
  StoreCallOptions,
} from './object-store.ts';
import {
  type FileCall,
  readFolder,
  removeTree,
  readPieces,
  statFile,
  unlessMissing,
  withFile,
  writePieces,
} from './sftp/files.ts';
import { SftpFolders } from './sftp/folders.ts';
import { assertLinks, SftpLinks } from './sftp/links.ts';
import { SftpLine } from './sftp/line.ts';
import { parseSftpLocation, type SftpLocation } from './sftp/location.ts';
import { noSpace } from './sftp/room.ts';
import { LostConnectionError, SftpStatusError, Status } from './sftp/session.ts';
import { tidySftp } from './sftp/tidy.ts';
import {
  assertKey,
  assertPrefix,
  bodyLength,
  missingObject,
  piecesOf,
  rangeWithin,
  tooShort,
} from './store-key.ts';

export interface SftpStoreOptions {
  /** Makes the folder when it is not there. Default false. */
  create?: boolean;
  logger?: Logger;
  signal?: AbortSignal;
}

/**
 * Opens `sftp://[user@]host[:port]/folder`. Raises `usage` for an address that is none, `refused` for a host key
 * that is not the known one, `permission`, `not-found` for a missing folder, `unsupported` for a server that
 * cannot create objects atomically, `remote` and `timeout` (both retryable) when it cannot be reached.
 */
export async function openSftpStore(url: string, options: SftpStoreOptions = {}): Promise<ObjectStore> {
  const store = new SftpStore(parseSftpLocation(url), options.logger ?? silentLogger);
  try {
    await store.open(options.create === true, options.signal);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Removes the folder that an address names with everything in it. Nothing happens when it is not there. */
export async function removeSftpFolder(url: string, options: SftpStoreOptions = {}): Promise<void> {
  const location = parseSftpLocation(url);
  const line = new SftpLine(location, options.logger ?? silentLogger);
  try {
    await line.call(`removing ${location.url}`, options.signal, async (call) => {
      const folders = new SftpFolders();
      await folders.findRoot(call, location);
      await removeTree(call, folders.root);
    });
  } finally {
    await line.close();
  }
}

/** What an attempt to create an object left behind when the connection was lost. */
interface PutAttempt {
  /** A temporary file may be there still. */
  temporary?: string;
  /** The link was asked for, and no answer came: the object may be there, and be ours. */
  linkUnanswered: boolean;
}

class SftpStore implements ObjectStore {
  readonly url: string;
  readonly paces = true;
  readonly #location: SftpLocation;
  readonly #logger: Logger;
  readonly #folders = new SftpFolders();
  readonly #links = new SftpLinks();
  readonly #line: SftpLine;
  #tidied: Promise<unknown> | undefined;
  #warnedOfSync = false;

  constructor(location: SftpLocation, logger: Logger) {
    this.url = location.url;
    this.#location = location;
    this.#logger = logger;
    this.#line = new SftpLine(location, logger);
  }

  async open(create: boolean, signal?: AbortSignal): Promise<void> {
    const doing = `opening the store ${this.url}`;
    await this.#line.call(doing, signal, async (call) => {
      await this.#folders.findRoot(call, this.#location);
      await assertLinks(call, this.#folders.root);
      if (create) await this.#folders.makeRoot(call);
      const found = await statFile(call, `${this.#folders.root}/`);
      if (found?.isDirectory() === true) return;
      throw new StorageError('not-found', `${doing}: there is no such folder on the server`);
    });
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: StoreCallOptions = {},
  ): Promise<'created' | 'exists'> {
    assertKey(key);
    const attempt: PutAttempt = { linkUnanswered: false };
    return this.#line.call(`storing ${key} in ${this.url}`, options.signal, async (connected) => {
      const call: FileCall = { ...connected, pace: options.pace };
      this.#tidied ??= tidySftp(call, this.#folders.root, Date.now());
      await this.#tidied.catch((error: unknown) => {
        this.#tidied = undefined;
        throw error;
      });
      if (attempt.temporary !== undefined) await this.#remove(call, attempt.temporary);
      const outcome = await this.#create(call, { key, body }, attempt);
      if (outcome === 'created' || !attempt.linkUnanswered) return outcome;
      // an earlier link may have been made without our hearing of it
      const there = await this.#read(call, key, undefined);
      return Buffer.concat(piecesOf(body)).equals(there) ? 'created' : 'exists';
    });
  }

  async #create(
    call: FileCall,
    { key, body }: { key: string; body: ObjectBody },
    attempt: PutAttempt,
  ): Promise<'created' | 'exists'> {
    const path = this.#path(key);
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    await this.#folders.make(call, key);
    const temporary = `${folder}${temporaryPrefix}${basename(key)}-${randomBytes(6).toString('hex')}`;
    attempt.temporary = temporary;
    try {
      await withFile(call, { path: temporary, flags: 'wx' }, async (handle) => {
        await writePieces(call, handle, piecesOf(body));
        await this.#sync(call, handle);
      });
      throwIfAborted(call.signal, call.doing);
      const earlier = attempt.linkUnanswered;
      attempt.linkUnanswered = true;
      const bytes = bodyLength(body);
      const outcome = await this.#links.link(call, { root: this.#folders.root, temporary, path, bytes });
      attempt.linkUnanswered = earlier;
      return outcome;
    } catch (error) {
      throw await this.#explained(call, error, bodyLength(body));
    } finally {
      // what a connection that is just being lost leaves there is removed over the next one
      if (!call.session.lost && (await this.#remove(call, temporary))) delete attempt.temporary;
    }
  }

  async #sync({ session, doing, signal }: FileCall, handle: Buffer): Promise<void> {
    try {
      await session.request<void>(doing, (sftp, answer) => sftp.ext_openssh_fsync(handle, answer), signal);
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'unsupported') throw error;
      if (this.#warnedOfSync) return;
      this.#warnedOfSync = true;
      this.#logger.warn(
        `${this.url}: the server cannot sync files (fsync@openssh.com); what was stored within the last moments ` +
          'before it crashes or loses power may be lost or damaged',
      );
    }
  }

  /** A failed write with what is known of its reason: SFTP has no status for a full disk. */
  async #explained({ session, doing }: FileCall, error: unknown, bytes: number): Promise<unknown> {
    if (!(error instanceof SftpStatusError) || session.lost) return error;
    if (error.status === Status.NO_SUCH_FILE) this.#folders.forget(); // somebody removed a folder
    return (await noSpace({ session, doing }, this.#folders.root, { bytes, error })) ?? error;
  }

  /** False when it is still there, as far as is known. */
  async #remove({ session, doing }: FileCall, path: string): Promise<boolean> {
    try {
      await unlessMissing(session.request<void>(doing, (sftp, answer) => sftp.unlink(path, answer)));
      return true;
    } catch (error) {
      if (!(error instanceof SftpStatusError || error instanceof LostConnectionError)) throw error;
      this.#logger.debug(`${doing}: a temporary file stays until later: ${error.message}`);
      return false;
    }
  }

  async get(key: string, range?: ObjectRange, options: StoreCallOptions = {}): Promise<Uint8Array> {
    assertKey(key);
    return this.#line.call(`reading ${key} in ${this.url}`, options.signal, (call) =>
      this.#read({ ...call, pace: options.pace }, key, range),
    );
  }

  async #read(call: FileCall, key: string, range: ObjectRange | undefined): Promise<Uint8Array> {
    const { session, doing, signal } = call;
    const read = withFile(call, { path: this.#path(key), flags: 'r' }, async (handle) => {
      const found = await session.request<{ size: number; isFile(): boolean }>(
        doing,
        (sftp, answer) => sftp.fstat(handle, answer),
        signal,
      );
      if (!found.isFile()) throw missingObject(key, this.url);
      const object = { key, url: this.url, size: found.size };
      const { offset, length } = rangeWithin(object, range);
      const bytes = Buffer.allocUnsafeSlow(length);
      const end = await readPieces(call, handle, { into: bytes, position: offset });
      if (end < length) throw tooShort({ ...object, size: offset + end }, { offset, length });
      return bytes;
    });
    const bytes = await unlessMissing(read);
    if (bytes === undefined) throw missingObject(key, this.url);
    return bytes;
  }

  async stat(key: string, options: StoreCallOptions = {}): Promise<ObjectInfo | undefined> {
    assertKey(key);
    return this.#line.call(`looking for ${key} in ${this.url}`, options.signal, async (call) => {
      const found = await statFile(call, this.#path(key));
      return found?.isFile() === true ? infoOf(key, found) : undefined;
    });
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncGenerator<ObjectInfo> {
    assertPrefix(prefix);
    const { signal } = options;
    const doing = `listing ${prefix === '' ? 'everything' : prefix} in ${this.url}`;
    const read = (folder: string, wanted: (name: string) => boolean) =>
      this.#line.call(doing, signal, (call) => this.#entries(call, folder, wanted));
    try {
      yield* walkFolders(read, prefix, { signal });
    } catch (error) {
      throw toPrimaError(error, doing);
    }
  }

  async #entries(call: FileCall, folder: string, wanted: (name: string) => boolean): Promise<FolderEntry[]> {
    const entries: FolderEntry[] = [];
    for (const { filename, attrs } of (await readFolder(call, `${this.#folders.root}/${folder}`)) ?? []) {
      const key = folder + filename;
      if (!wanted(key) && !wanted(`${key}/`)) continue;
      const found = attrs.isSymbolicLink() ? await statFile(call, this.#path(key)) : attrs;
      if (found?.isDirectory() === true && wanted(`${key}/`)) entries.push({ folder: `${key}/` });
      else if (found?.isFile() === true && wanted(key)) entries.push(infoOf(key, found));
    }
    return entries;
  }

  async delete(key: string, options: StoreCallOptions = {}): Promise<void> {
    assertKey(key);
    const path = this.#path(key);
    await this.#line.call(`deleting ${key} in ${this.url}`, options.signal, async (call) => {
      const { session, doing, signal } = call;
      try {
        await unlessMissing(
          session.request<void>(doing, (sftp, answer) => sftp.unlink(path, answer), signal),
        );
      } catch (error) {
        const folder = error instanceof SftpStatusError && (await statFile(call, path))?.isDirectory();
        if (folder !== true) throw error;
      }
    });
  }

  async close(): Promise<void> {
    await this.#line.close();
  }

  #path(key: string): string {
    return `${this.#folders.root}/${key}`;
  }
}

function infoOf(key: string, { size, mtime }: { size: number; mtime: number }): ObjectInfo {
  return { key, size, modified: mtime * 1000 };
}
