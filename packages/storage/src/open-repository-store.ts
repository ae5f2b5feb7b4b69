/** A store as a repository wants it: remote ones tried again and remembered, all within the bandwidth allowed. */
import { GiB, type Logger } from '@prima/base';
import { cachedStore } from './cached-store.ts';
import type { ObjectStore } from './object-store.ts';
import { isRemote, openStore } from './open-store.ts';
import { rateLimitedStore, type RateLimits } from './rate-limited-store.ts';
import { retryStore } from './retry-store.ts';

export interface RepositoryStoreOptions extends RateLimits {
  /** Makes the store when it is not there. Default false. */
  create?: boolean;
  /** Where what was read of remote stores is kept; undefined: nowhere. */
  cacheFolder?: string;
  /** What `cacheFolder` may take, bytes; 0: nothing is kept. Default 1 GiB. */
  cacheBytes?: number;
  logger?: Logger;
}

/** Opens the store that `url` names. Raises what `openStore` raises. */
export async function openRepositoryStore(
  url: string,
  options: RepositoryStoreOptions = {},
): Promise<ObjectStore> {
  const { create, logger } = options;
  const store = await openStore(url, { ...(create !== undefined && { create }), ...(logger && { logger }) });
  return wrapStore(store, isRemote(url), options);
}

/** What `openRepositoryStore` puts around a store. The order matters: what the cache answers costs no bandwidth. */
export function wrapStore(
  store: ObjectStore,
  remote: boolean,
  options: Omit<RepositoryStoreOptions, 'create'>,
): ObjectStore {
  const { upload, download, clock, cacheFolder, cacheBytes = GiB, logger } = options;
  let wrapped = remote ? retryStore(store, { clock, logger }) : store;
  if (upload !== undefined || download !== undefined) {
    wrapped = rateLimitedStore(wrapped, { upload, download, clock });
  }
  if (!remote || cacheFolder === undefined || cacheBytes === 0) return wrapped;
  return cachedStore(wrapped, { folder: cacheFolder, limitBytes: cacheBytes, clock, logger });
}
