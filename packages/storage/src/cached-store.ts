/**
 * A store that remembers on this machine what it read: objects never change, so what was read once is right for ever.
 * What may be remembered, and why reading an object from here that is deleted by now does no harm, is in
 * docs/format/repository.md, "Caches".
 */
import { createHash } from 'node:crypto';
import { MiB } from '@prima/base';
import { CacheFolder, type CacheFolderOptions } from './cache-folder.ts';
import { filterStore } from './filter-store.ts';
import type { ObjectBody, ObjectRange, ObjectStore, StoreCallOptions } from './object-store.ts';
import { bodyLength, piecesOf, rangeWithin } from './store-key.ts';
import { RecentBytes, RecentNames } from './recent.ts';

export interface CacheOptions extends CacheFolderOptions {
  /** Also remember ranges of data packs that are read a second time. Default true. */
  hotData?: boolean;
}

/** How an object may be remembered: whole; a metadata pack in ranges, then whole; ranges that are read again. */
type Policy = 'whole' | 'meta' | 'hot' | 'never';

/** A metadata pack is read whole when this many ranges of it were not there. */
const rangesBeforeWhole = 2;
/** Metadata packs that are read page by page stay in memory. */
const memoryBytes = 32 * MiB;
const rememberedNames = 16_384;

/**
 * `store` behind a cache in `options.folder`. Nothing is remembered before `config` was read or made: its bytes and the
 * store's URL tell whose entries these are. Reads that are `fresh` go to the store. Closing it closes `store`.
 */
export function cachedStore(store: ObjectStore, options: CacheOptions): ObjectStore {
  const cache = new StoreCache(store, options);
  return filterStore(store, {
    get: (key, range, given) => cache.get(key, range, given),
    putIfAbsent: async (key, body, given) => {
      const answer = await store.putIfAbsent(key, body, given);
      if (answer === 'created') cache.put(key, body);
      return answer;
    },
    delete: async (key, given) => {
      await cache.remove(key);
      await store.delete(key, given);
    },
    close: async () => {
      await cache.close();
      await store.close();
    },
  });
}

class StoreCache {
  readonly #store: ObjectStore;
  readonly #folder: CacheFolder;
  readonly #hotData: boolean;
  readonly #packs = new RecentBytes(memoryBytes);
  /** Ranges of data packs that were read once. */
  readonly #readOnce = new RecentNames(rememberedNames);
  /** Metadata packs, with how many of their ranges were not there. */
  readonly #misses = new RecentNames(rememberedNames);
  /** What was given from the cache: a fresh read of the same says that something was wrong with it. */
  readonly #given = new RecentNames(rememberedNames);
  #owner: string | undefined;

  constructor(store: ObjectStore, options: CacheOptions) {
    this.#store = store;
    this.#folder = new CacheFolder(options);
    this.#hotData = options.hotData ?? true;
  }

  async get(
    key: string,
    range: ObjectRange | undefined,
    options: StoreCallOptions = {},
  ): Promise<Uint8Array> {
    if (key === 'config' && range === undefined) return this.#own(await this.#store.get(key, range, options));
    const policy = this.#owner === undefined ? 'never' : this.#policyOf(key);
    if (options.fresh === true && policy !== 'never') return await this.#fresh(key, range, options);
    const read = () => this.#store.get(key, range, options);
    if (policy === 'whole' || (policy === 'meta' && range === undefined))
      return await this.#whole(key, range, options);
    if (policy === 'meta' && range !== undefined) return await this.#meta(key, range, options);
    if (policy === 'hot' && range !== undefined) return await this.#hot(this.#nameOf(key, range), read);
    return await read();
  }

  put(key: string, body: ObjectBody): void {
    if (key === 'config') this.#own(Buffer.concat(piecesOf(body)));
    const policy = this.#owner === undefined ? 'never' : this.#policyOf(key);
    if (policy !== 'whole' && policy !== 'meta') return;
    if (bodyLength(body) <= memoryBytes) this.#folder.write(this.#nameOf(key), Buffer.concat(piecesOf(body)));
  }

  async remove(key: string): Promise<void> {
    if (this.#owner === undefined || this.#policyOf(key) === 'never') return;
    this.#packs.delete(key);
    await this.#folder.remove(this.#nameOf(key));
  }

  close(): Promise<void> {
    return this.#folder.close();
  }

  #own(config: Uint8Array): Uint8Array {
    this.#owner = createHash('sha256').update(`${this.#store.url}\n`).update(config).digest('hex');
    return config;
  }

  #policyOf(key: string): Policy {
    if (/^sessions\/[0-9a-f]{32}\/outcome$/.test(key) || key.startsWith('log/')) return 'whole';
    // where lists lag, a segment that is listed may be one that a collection has deleted: see "Caches"
    if (key.startsWith('index/')) return (this.#store.settleMs ?? 0) > 0 ? 'never' : 'whole';
    if (key.startsWith('packs/meta/')) return 'meta';
    return this.#hotData && key.startsWith('packs/data/') ? 'hot' : 'never';
  }

  #nameOf(key: string, range?: ObjectRange): string {
    const part = range ? `${range.offset}+${range.length}` : 'whole';
    return `${this.#owner}\n${key}\n${part}`;
  }

  /** From the store. What was given from here before is replaced: whoever asks again did not like it. */
  async #fresh(key: string, range: ObjectRange | undefined, options: StoreCallOptions): Promise<Uint8Array> {
    const bytes = await this.#store.get(key, range, options);
    const name = this.#nameOf(key, range);
    if (range && this.#given.has(this.#nameOf(key))) await this.remove(key);
    if (this.#given.has(name)) this.#folder.write(name, bytes);
    return bytes;
  }

  async #whole(key: string, range: ObjectRange | undefined, options: StoreCallOptions): Promise<Uint8Array> {
    const name = this.#nameOf(key);
    const known = await this.#read(name);
    if (known) return this.#part(key, known, range);
    const bytes = await this.#store.get(key, range, options);
    if (!range) this.#folder.write(name, bytes);
    return bytes;
  }

  async #meta(key: string, range: ObjectRange, options: StoreCallOptions): Promise<Uint8Array> {
    const inMemory = this.#packs.get(key);
    if (inMemory) {
      this.#given.add(this.#nameOf(key));
      return Uint8Array.from(this.#part(key, inMemory, range));
    }
    const name = this.#nameOf(key, range);
    const known = await this.#read(name);
    if (known) return known;
    const pack = (await this.#read(this.#nameOf(key))) ?? (await this.#wholePack(key, options));
    if (pack) {
      this.#packs.set(key, pack);
      return Uint8Array.from(this.#part(key, pack, range));
    }
    const bytes = await this.#store.get(key, range, options);
    this.#folder.write(name, bytes);
    return bytes;
  }

  /** The whole pack when enough of it was asked for already. */
  async #wholePack(key: string, options: StoreCallOptions): Promise<Uint8Array | undefined> {
    if (this.#misses.add(key) <= rangesBeforeWhole) return undefined;
    const pack = await this.#store.get(key, undefined, options);
    this.#folder.write(this.#nameOf(key), pack);
    return pack;
  }

  async #hot(name: string, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const known = await this.#read(name);
    if (known) return known;
    const bytes = await read();
    if (this.#readOnce.add(name) > 1) this.#folder.write(name, bytes);
    return bytes;
  }

  async #read(name: string): Promise<Uint8Array | undefined> {
    const bytes = await this.#folder.read(name);
    if (bytes) this.#given.add(name);
    return bytes;
  }

  #part(key: string, whole: Uint8Array, range: ObjectRange | undefined): Uint8Array {
    const { offset, length } = rangeWithin({ key, url: this.#store.url, size: whole.length }, range);
    return whole.subarray(offset, offset + length);
  }
}
