/** A store that counts what is asked of it. */
import { filterStore } from './filter-store.ts';
import type { ObjectStore } from './object-store.ts';
import { bodyLength } from './store-key.ts';

/** Requests by kind, those that failed included, and the bytes of objects that were stored and read. */
export interface StoreCounts {
  put: number;
  get: number;
  stat: number;
  list: number;
  delete: number;
  bytesStored: number;
  bytesRead: number;
}

/** `store` and the counts of what goes through it from now on; retention is not counted. Closing it closes `store`. */
export function countingStore(store: ObjectStore): ObjectStore & { readonly counts: StoreCounts } {
  const counts: StoreCounts = { put: 0, get: 0, stat: 0, list: 0, delete: 0, bytesStored: 0, bytesRead: 0 };
  const counting = filterStore(store, {
    putIfAbsent: async (key, body, options) => {
      counts.put += 1;
      const outcome = await store.putIfAbsent(key, body, options);
      if (outcome === 'created') counts.bytesStored += bodyLength(body);
      return outcome;
    },
    get: async (key, range, options) => {
      counts.get += 1;
      const bytes = await store.get(key, range, options);
      counts.bytesRead += bytes.length;
      return bytes;
    },
    stat: (key, options) => {
      counts.stat += 1;
      return store.stat(key, options);
    },
    list: (prefix, options) => {
      counts.list += 1;
      return store.list(prefix, options);
    },
    delete: (key, options) => {
      counts.delete += 1;
      return store.delete(key, options);
    },
  });
  return { ...counting, counts };
}
