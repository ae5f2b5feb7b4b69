/** The store as a check reads it: never from a cache, and metadata packs as a whole. */
import { filterStore, type ObjectStore } from '@prima/storage';

/** Whole metadata packs (8 MiB each) that are kept for the next page. */
const keptPacks = 8;

/**
 * `store` with every read `fresh`. A range of a metadata pack is taken from the whole pack, which is read once: pages
 * of a disk lie one after the other. A read that asks for `fresh` itself goes to the store alone.
 */
export function checkingStore(store: ObjectStore): ObjectStore {
  const packs = new Map<string, Promise<Uint8Array>>();
  const wholePack = (key: string): Promise<Uint8Array> => {
    const pack = packs.get(key) ?? store.get(key, undefined, { fresh: true });
    packs.delete(key);
    packs.set(key, pack);
    pack.catch(() => packs.delete(key));
    const [oldest] = packs.keys();
    if (packs.size > keptPacks && oldest !== undefined) packs.delete(oldest);
    return pack;
  };
  return filterStore(store, {
    get: async (key, range, options) => {
      if (range && !options?.fresh && key.startsWith('packs/meta/')) {
        const pack = await wholePack(key);
        const end = range.offset + range.length;
        if (end <= pack.length) return Uint8Array.from(pack.subarray(range.offset, end));
      }
      return await store.get(key, range, { ...options, fresh: true });
    },
    stat: (key, options) => store.stat(key, { ...options, fresh: true }),
    list: (prefix, options) => store.list(prefix, { ...options, fresh: true }),
    close: async () => undefined,
  });
}
