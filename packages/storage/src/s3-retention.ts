/** Retention by the store itself: S3 object lock. Needs a bucket that was made with it. */
import { StorageError, UserError } from '@prima/base';
import type { Retention, StoreCallOptions } from './object-store.ts';
import type { S3Connection } from './s3-connection.ts';
import { isMissingObject, s3CodeOf, statusOf } from './s3-errors.ts';
import type { S3Lock } from './s3-location.ts';
import { assertKey, missingObject } from './store-key.ts';

/** What servers answer for an object without retention; the second is Ceph's. */
const notRetained = new Set(['NoSuchObjectLockConfiguration', 'ObjectLockConfigurationNotFoundError']);

/** Raises `unsupported` for a bucket without object lock, `permission` when it may not be asked. */
export async function assertObjectLock(connection: S3Connection): Promise<void> {
  const { bucket, lock, url } = connection.location;
  const enabled = await connection
    .call('asking for the object lock', {}, (s3, settings) =>
      s3.getObjectLockConfiguration({ Bucket: bucket }, settings),
    )
    .then(({ ObjectLockConfiguration: found }) => found?.ObjectLockEnabled === 'Enabled')
    .catch((error: unknown) => {
      const status = statusOf(error);
      if (status === 404 || status === 405 || status === 501) return false;
      if (status !== 403) throw error;
      throw new StorageError(
        'permission',
        `opening ${url}: these credentials may not ask for the bucket's object lock; lock= needs s3:GetBucketObjectLockConfiguration`,
        { cause: error },
      );
    });
  if (enabled) return;
  throw new UserError(
    'unsupported',
    `opening ${url}: lock=${lock} is asked for, but the bucket has no object lock; it is chosen when a bucket is made. Make another bucket with it, or leave lock= out`,
  );
}

/** `ObjectStore.retention` by object lock. Dates are whole seconds, rounded up. */
export function objectLockRetention(connection: S3Connection, lock: S3Lock): Retention {
  return {
    retain: (key, until, options) => retain(connection, lock, { key, until }, options),
    retainedUntil: async (key, options) => {
      const { until } = await lockOf(connection, key, options);
      return until !== undefined && until > Date.now() ? until : undefined;
    },
  };
}

async function retain(
  connection: S3Connection,
  lock: S3Lock,
  { key, until }: { key: string; until: number },
  options: StoreCallOptions = {},
): Promise<void> {
  const seconds = Math.ceil(until / 1000) * 1000;
  const found = await lockOf(connection, key, options);
  if ((found.until ?? 0) >= until || seconds <= Date.now()) return;
  const Mode = found.mode === 'COMPLIANCE' || lock === 'compliance' ? 'COMPLIANCE' : 'GOVERNANCE';
  try {
    await connection.call(`keeping ${key}`, { signal: options.signal }, (s3, settings) =>
      s3.putObjectRetention(
        { ...connection.object(key), Retention: { Mode, RetainUntilDate: new Date(seconds) } },
        settings,
      ),
    );
  } catch (error) {
    if (seconds <= Date.now()) return; // it passed meanwhile
    // somebody else may have extended it further meanwhile, and to shorten that is denied
    if (statusOf(error) !== 403 || ((await lockOf(connection, key, options)).until ?? 0) < until) throw error;
  }
}

async function lockOf(
  connection: S3Connection,
  key: string,
  options: StoreCallOptions = {},
): Promise<{ until?: number; mode?: string }> {
  assertKey(key);
  try {
    const doing = `asking until when ${key} is kept`;
    const { Retention: found } = await connection.call(doing, { signal: options.signal }, (s3, settings) =>
      s3.getObjectRetention(connection.object(key), settings),
    );
    return {
      ...(found?.Mode && { mode: found.Mode }),
      ...(found?.RetainUntilDate && { until: found.RetainUntilDate.getTime() }),
    };
  } catch (error) {
    if (notRetained.has(s3CodeOf(error) ?? '')) return {};
    if (isMissingObject(error)) throw missingObject(key, connection.location.url, error);
    throw error;
  }
}
