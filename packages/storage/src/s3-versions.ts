/**
 * Deleting in buckets that keep versions: there a plain delete only hides an object under a delete marker, which frees
 * nothing and which an object lock does not prevent. All versions of the key are removed instead.
 */
import type { ListObjectVersionsCommandOutput } from '@aws-sdk/client-s3';
import { ProtocolError, StorageError } from '@prima/base';
import type { S3Connection } from './s3-connection.ts';
import { isMissingObject, notS3, statusOf } from './s3-errors.ts';
import { retainedObject } from './store-key.ts';

interface Version {
  /** In the bucket, with the store's prefix. */
  key: string;
  id: string;
  marker: boolean;
  latest: boolean;
  modified: number;
}

/** Whether the bucket keeps versions, or kept them once. Raises `permission` when it may not be asked. */
export async function keepsVersions(connection: S3Connection, signal?: AbortSignal): Promise<boolean> {
  const { bucket, url } = connection.location;
  try {
    const { Status } = await connection.call('asking for the versioning', { signal }, (s3, settings) =>
      s3.getBucketVersioning({ Bucket: bucket }, settings),
    );
    return Status !== undefined;
  } catch (error) {
    const status = statusOf(error);
    if (status === 405 || status === 501) return false; // a server without versions
    if (status !== 403) throw error;
    throw new StorageError(
      'permission',
      `deleting in ${url}: these credentials may not ask whether the bucket keeps versions; whoever deletes needs s3:GetBucketVersioning, s3:ListBucketVersions, s3:DeleteObject and s3:DeleteObjectVersion`,
      { cause: error },
    );
  }
}

/** Removes all versions and delete markers of `key`, the newest last, so that it may be repeated. Raises `refused`. */
export async function deleteVersions(
  connection: S3Connection,
  key: string,
  signal?: AbortSignal,
): Promise<void> {
  const versions: Version[] = [];
  const name = connection.keyOf(key);
  for await (const version of listVersions(connection, name, signal)) {
    if (version.key !== name) break; // the key itself comes before those that go on after it
    versions.push(version);
  }
  versions.sort((a, b) => Number(a.latest) - Number(b.latest) || a.modified - b.modified);
  for (const { id } of versions) await deleteVersion(connection, key, id, signal);
}

async function deleteVersion(
  connection: S3Connection,
  key: string,
  VersionId: string,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await connection.call(`deleting ${key}`, { signal }, (s3, settings) =>
      s3.deleteObject({ ...connection.object(key), VersionId }, settings),
    );
  } catch (error) {
    if (isMissingObject(error)) return;
    throw (
      (statusOf(error) === 403 ? await whyKept(connection, { key, id: VersionId }, error) : undefined) ??
      error
    );
  }
}

/** `refused` with the date when a lock is why deleting was denied; undefined when it is something else. */
async function whyKept(
  connection: S3Connection,
  { key, id }: { key: string; id: string },
  cause: unknown,
): Promise<StorageError | undefined> {
  const { url } = connection.location;
  const object = { ...connection.object(key), VersionId: id };
  const found = await connection
    .call(`asking why ${key} is kept`, {}, (s3, settings) => s3.headObject(object, settings))
    .catch((error: unknown) => {
      if (statusOf(error) === undefined) throw error;
      return undefined; // not for us to see: the denial stands
    });
  const { ObjectLockRetainUntilDate: until, ObjectLockLegalHoldStatus: hold } = found ?? {};
  if (hold === 'ON') {
    return new StorageError('refused', `deleting ${key} in ${url}: the store keeps it by a legal hold`, {
      cause,
    });
  }
  if (until === undefined || until.getTime() <= Date.now()) return undefined;
  return retainedObject(key, url, until.getTime(), cause);
}

/**
 * Brings back what somebody hid by plain deletes: removes the delete markers over objects below the store's prefix.
 * Returns the keys in the bucket, in order. Raises `permission`.
 */
export async function removeDeleteMarkers(
  connection: S3Connection,
  { signal, dryRun = false }: { signal?: AbortSignal | undefined; dryRun?: boolean } = {},
): Promise<string[]> {
  const recovered: string[] = [];
  let key = '';
  let markers: Version[] = [];
  for await (const version of listVersions(connection, connection.location.prefix, signal)) {
    if (version.key !== key) {
      key = version.key;
      markers = version.latest && version.marker ? [version] : [];
      continue;
    }
    if (markers.length === 0) continue;
    if (version.marker) {
      markers.push(version); // hidden twice
      continue;
    }
    for (const { id } of dryRun ? [] : markers) {
      await connection.call(`bringing back ${key}`, { signal }, (s3, settings) =>
        s3.deleteObject({ Bucket: connection.location.bucket, Key: version.key, VersionId: id }, settings),
      );
    }
    recovered.push(key);
    markers = [];
  }
  return recovered;
}

/** Versions and delete markers of what begins with `prefix` in the bucket: by key, the newest of a key first. */
async function* listVersions(
  connection: S3Connection,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<Version> {
  let after: { KeyMarker?: string | undefined; VersionIdMarker?: string | undefined } = {};
  for (;;) {
    const input = { Bucket: connection.location.bucket, Prefix: prefix, ...after };
    const page = await connection.call('listing versions', { signal }, (s3, settings) =>
      s3.listObjectVersions(input, settings),
    );
    if (page.Name === undefined) throw notS3('listing versions', connection.location);
    yield* versionsOf(page);
    if (page.IsTruncated !== true) return;
    const next = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker };
    if (next.KeyMarker === undefined || JSON.stringify(next) === JSON.stringify(after)) {
      throw new ProtocolError(`listing versions in ${connection.location.url}: the list does not go on`);
    }
    after = next;
  }
}

function versionsOf(page: ListObjectVersionsCommandOutput): Version[] {
  const of =
    (marker: boolean) =>
    (entry: {
      Key?: string | undefined;
      VersionId?: string | undefined;
      IsLatest?: boolean | undefined;
      LastModified?: Date | undefined;
    }): Version => ({
      key: entry.Key ?? '',
      id: entry.VersionId ?? 'null',
      marker,
      latest: entry.IsLatest === true,
      modified: entry.LastModified?.getTime() ?? 0,
    });
  const all = [...(page.Versions ?? []).map(of(false)), ...(page.DeleteMarkers ?? []).map(of(true))];
  return all.sort(
    (a, b) => compare(a.key, b.key) || Number(b.latest) - Number(a.latest) || b.modified - a.modified,
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
