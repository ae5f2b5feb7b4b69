/**
 * Objects in a bucket of an S3 server. Creation is atomic by a conditional PUT (`If-None-Match: *`), which is tried
 * out before the first object is written; servers that ignore it are refused. Bodies are verified by the server.
 */
import type { _Object } from '@aws-sdk/client-s3';
import { assert, MiB, ProtocolError, throwIfAborted, toPrimaError } from '@prima/base';
import type {
  ListOptions,
  ObjectBody,
  ObjectInfo,
  ObjectRange,
  ObjectStore,
  Retention,
  StoreCallOptions,
} from './object-store.ts';
import { keyPattern } from './object-store.ts';
import { S3Connection, type S3ConnectionOptions } from './s3-connection.ts';
import { isMissingObject, notS3 } from './s3-errors.ts';
import { getObject } from './s3-get.ts';
import { parseS3Location } from './s3-location.ts';
import { uploadIfAbsent } from './s3-multipart.ts';
import { probeKey, putObjectIfAbsent, verifyConditionalPut } from './s3-put.ts';
import { assertObjectLock, objectLockRetention } from './s3-retention.ts';
import { deleteVersions, keepsVersions, removeDeleteMarkers } from './s3-versions.ts';
import { assertKey, assertPrefix, missingObject, piecesOf, rangeWithin } from './store-key.ts';

export interface S3StoreOptions extends S3ConnectionOptions {
  /** Longer bodies are stored in parts. Default 128 MiB. */
  multipartBytes?: number;
  /** Bytes of a part; S3 wants 5 MiB or more. Default 32 MiB. */
  partBytes?: number;
}

/**
 * Opens `s3://BUCKET/PREFIX?…` (see `parseS3Location`) with the credentials of the environment or of a profile.
 * The bucket is never made. Raises `usage` for a wrong URL, `not-found` without the bucket, `permission` for
 * wrong credentials, `remote` and `timeout`, `unsupported` when `lock` is asked of a bucket without object lock.
 */
export async function openS3Store(url: string, options: S3StoreOptions = {}): Promise<ObjectStore> {
  const location = parseS3Location(url);
  const connection = await S3Connection.open(location, options);
  try {
    const { Name } = await connection.call('opening the store', {}, (s3, settings) =>
      s3.listObjectsV2({ Bucket: location.bucket, Prefix: location.prefix, MaxKeys: 1 }, settings),
    );
    if (Name === undefined) throw notS3('opening the store', location);
    if (location.lock) await assertObjectLock(connection);
    return new S3Store(connection, options);
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Brings back what was hidden by plain deletes in a bucket with versions: removes the delete markers below the
 * store's prefix (with `dryRun` none). Returns the bucket's keys of what came back. Raises what opening raises, and `permission`.
 */
export async function undeleteS3Objects(
  url: string,
  options: S3ConnectionOptions & { signal?: AbortSignal | undefined; dryRun?: boolean } = {},
): Promise<string[]> {
  const connection = await S3Connection.open(parseS3Location(url), options);
  try {
    return await removeDeleteMarkers(connection, options);
  } finally {
    connection.close();
  }
}

/**
 * Removes the small objects by which conditional writes were tried out, below the store's prefix. For prefixes that
 * were only for a test. Raises what opening raises, `refused` and `permission`.
 */
export async function removeS3Probes(url: string, options: S3ConnectionOptions = {}): Promise<void> {
  const location = parseS3Location(url);
  const connection = await S3Connection.open(location, options);
  try {
    const versions = await keepsVersions(connection);
    for await (const { Key = '' } of listBucket(connection, location.prefix)) {
      if (!Key.endsWith(`/${probeKey}`)) continue;
      const key = Key.slice(location.prefix.length);
      if (versions) await deleteVersions(connection, key);
      else await deleteObject(connection, key);
    }
  } finally {
    connection.close();
  }
}

class S3Store implements ObjectStore {
  readonly url: string;
  /** Fewer, larger objects cost less; two packs for each worker are in memory, which has to stay below 512 MiB. */
  readonly packBytes = 40 * MiB;
  readonly retention?: Retention;
  readonly #connection: S3Connection;
  readonly #multipartBytes: number;
  readonly #partBytes: number;
  /** Learnt by the first put and the first delete; forgotten when that fails. */
  #conditional: Promise<void> | undefined;
  #versions: Promise<boolean> | undefined;

  constructor(connection: S3Connection, options: S3StoreOptions) {
    const { url, lock } = connection.location;
    this.url = url;
    this.#connection = connection;
    this.#multipartBytes = options.multipartBytes ?? 128 * MiB;
    this.#partBytes = options.partBytes ?? 32 * MiB;
    if (lock) this.retention = objectLockRetention(connection, lock);
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: StoreCallOptions = {},
  ): Promise<'created' | 'exists'> {
    assertKey(key);
    const { signal } = options;
    const doing = `storing ${key} in ${this.url}`;
    throwIfAborted(signal, doing);
    try {
      await this.#refuseOverwriting();
      const bytes = inOnePiece(body);
      return bytes.length > this.#multipartBytes
        ? await uploadIfAbsent(this.#connection, key, bytes, { partBytes: this.#partBytes, signal })
        : await putObjectIfAbsent(this.#connection, key, bytes, signal);
    } catch (error) {
      throw toPrimaError(error, doing);
    }
  }

  async get(key: string, range?: ObjectRange, options: StoreCallOptions = {}): Promise<Uint8Array> {
    assertKey(key);
    if (range?.length !== 0) return getObject(this.#connection, key, checked(range), options.signal);
    const found = await this.stat(key, options); // HTTP knows no empty ranges
    if (!found) throw missingObject(key, this.url);
    rangeWithin({ key, url: this.url, size: found.size }, range);
    return new Uint8Array(0);
  }

  async stat(key: string, options: StoreCallOptions = {}): Promise<ObjectInfo | undefined> {
    assertKey(key);
    try {
      const found = await this.#connection.call(
        `looking for ${key}`,
        { signal: options.signal },
        (s3, settings) => s3.headObject(this.#connection.object(key), settings),
      );
      return infoOf(key, found.ContentLength, found.LastModified);
    } catch (error) {
      if (isMissingObject(error)) return undefined;
      throw error;
    }
  }

  async *list(prefix: string, options: ListOptions = {}): AsyncIterable<ObjectInfo> {
    assertPrefix(prefix);
    const { location } = this.#connection;
    const inBucket = this.#connection.keyOf(prefix);
    for await (const { Key = '', Size, LastModified } of listBucket(
      this.#connection,
      inBucket,
      options.signal,
    )) {
      const key = Key.slice(location.prefix.length);
      if (keyPattern.test(key)) yield infoOf(key, Size, LastModified);
    }
  }

  async delete(key: string, options: StoreCallOptions = {}): Promise<void> {
    assertKey(key);
    const { signal } = options;
    throwIfAborted(signal, `deleting ${key} in ${this.url}`);
    if (await this.#keepsVersions()) {
      await deleteVersions(this.#connection, key, signal);
      return;
    }
    await deleteObject(this.#connection, key, signal);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /** Shared by all callers, so it has no signal of one of them. */
  async #refuseOverwriting(): Promise<void> {
    this.#conditional ??= verifyConditionalPut(this.#connection).catch((error: unknown) => {
      this.#conditional = undefined;
      throw error;
    });
    await this.#conditional;
  }

  async #keepsVersions(): Promise<boolean> {
    this.#versions ??= keepsVersions(this.#connection).catch((error: unknown) => {
      this.#versions = undefined;
      throw error;
    });
    return this.#versions;
  }
}

/** What is in the bucket below `prefix`, in order. Raises `protocol` for lists that cannot be relied on. */
async function* listBucket(
  connection: S3Connection,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<_Object> {
  const { bucket, url } = connection.location;
  const doing = `listing what begins with "${prefix}"`;
  const unreliable = (last: string, found: string) =>
    new ProtocolError(`${doing} in ${url}: the list is not in ascending order: after "${last}" it ${found}`);
  let last = '';
  for (let token: string | undefined; ; ) {
    const input = { Bucket: bucket, Prefix: prefix, ContinuationToken: token };
    const page = await connection.call(doing, { signal }, (s3, settings) =>
      s3.listObjectsV2(input, settings),
    );
    if (page.Name === undefined) throw notS3(doing, connection.location);
    for (const object of page.Contents ?? []) {
      const { Key = '' } = object;
      if (Key <= last) throw unreliable(last, `has "${Key}"`);
      last = Key;
      yield object;
    }
    if (page.IsTruncated !== true) return;
    if (!page.NextContinuationToken || page.NextContinuationToken === token) {
      throw unreliable(last, 'does not go on');
    }
    token = page.NextContinuationToken;
  }
}

async function deleteObject(connection: S3Connection, key: string, signal?: AbortSignal): Promise<void> {
  try {
    await connection.call(`deleting ${key}`, { signal }, (s3, settings) =>
      s3.deleteObject(connection.object(key), settings),
    );
  } catch (error) {
    if (!isMissingObject(error)) throw error; // some servers do not say 204 for what is not there
  }
}

/** Servers tell the time of an object in a list to the millisecond, and to the second when asked for the object. */
function infoOf(key: string, size: number | undefined, modified: Date | undefined): ObjectInfo {
  const time = modified?.getTime() ?? 0;
  return { key, size: size ?? 0, modified: time - (time % 1000) };
}

function checked(range: ObjectRange | undefined): ObjectRange | undefined {
  if (range === undefined) return undefined;
  const { offset, length } = range;
  const valid = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  assert(valid && Number.isSafeInteger(offset + length), `${offset}+${length} is a byte range`);
  return range;
}

/** The body as one array: requests that are repeated need it whole. Copied only when it is in several. */
function inOnePiece(body: ObjectBody): Uint8Array {
  const pieces = piecesOf(body).filter((piece) => piece.length > 0);
  return pieces.length === 1 && pieces[0] ? pieces[0] : Buffer.concat(pieces);
}
