/** Objects in memory, for tests. */
import { type Clock, systemClock, throwIfAborted } from '@prima/base';
import type {
  ObjectBody,
  ObjectInfo,
  ObjectRange,
  ObjectStore,
  Retention,
  StoreCallOptions,
} from './object-store.ts';
import {
  assertKey,
  assertPrefix,
  missingObject,
  piecesOf,
  rangeWithin,
  retainedObject,
} from './store-key.ts';

export interface MemoryStoreOptions {
  /** The store keeps objects from being deleted; see `ObjectStore.retention`. Default false. */
  retention?: boolean;
  /** The store's clock. */
  clock?: Pick<Clock, 'now'>;
}

/** A store that is gone with the process. Bodies are copied when they are put and when they are got. */
export function memoryStore(options: MemoryStoreOptions = {}): ObjectStore {
  return new MemoryStore(options);
}

interface MemoryObject {
  bytes: Uint8Array;
  modified: number;
  retainedUntil?: number;
}

class MemoryStore implements ObjectStore {
  readonly url = 'memory';
  readonly retention?: Retention;
  readonly #objects = new Map<string, MemoryObject>();
  readonly #clock: Pick<Clock, 'now'>;

  constructor(options: MemoryStoreOptions) {
    this.#clock = options.clock ?? systemClock;
    if (options.retention === true) this.retention = this.#retention();
  }

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: StoreCallOptions = {},
  ): Promise<'created' | 'exists'> {
    assertKey(key);
    throwIfAborted(options.signal, `storing ${key} in memory`);
    if (this.#objects.has(key)) return 'exists';
    this.#objects.set(key, { bytes: Buffer.concat(piecesOf(body)), modified: this.#clock.now() });
    return 'created';
  }

  async get(key: string, range?: ObjectRange, options: StoreCallOptions = {}): Promise<Uint8Array> {
    assertKey(key);
    throwIfAborted(options.signal, `reading ${key} in memory`);
    const object = this.#existing(key);
    const { offset, length } = rangeWithin({ key, url: this.url, size: object.bytes.length }, range);
    return Uint8Array.from(object.bytes.subarray(offset, offset + length));
  }

  async readInto(
    key: string,
    offset: number,
    into: Uint8Array,
    options: StoreCallOptions = {},
  ): Promise<void> {
    into.set(await this.get(key, { offset, length: into.length }, options));
  }

  async stat(key: string, options: StoreCallOptions = {}): Promise<ObjectInfo | undefined> {
    assertKey(key);
    throwIfAborted(options.signal, `looking for ${key} in memory`);
    const object = this.#objects.get(key);
    return object && { key, size: object.bytes.length, modified: object.modified };
  }

  async *list(prefix: string, options: StoreCallOptions = {}): AsyncIterable<ObjectInfo> {
    assertPrefix(prefix);
    for (const key of [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).sort()) {
      const info = await this.stat(key, options);
      if (info) yield info;
    }
  }

  async delete(key: string, options: StoreCallOptions = {}): Promise<void> {
    assertKey(key);
    throwIfAborted(options.signal, `deleting ${key} in memory`);
    const until = this.#objects.get(key)?.retainedUntil;
    if (until !== undefined && until > this.#clock.now()) throw retainedObject(key, this.url, until);
    this.#objects.delete(key);
  }

  #retention(): Retention {
    return {
      retain: async (key, until, options = {}) => {
        assertKey(key);
        throwIfAborted(options.signal, `retaining ${key} in memory`);
        const object = this.#existing(key);
        object.retainedUntil = Math.max(until, object.retainedUntil ?? 0);
      },
      retainedUntil: async (key, options = {}) => {
        assertKey(key);
        throwIfAborted(options.signal, `asking until when ${key} in memory is retained`);
        const until = this.#existing(key).retainedUntil;
        return until !== undefined && until > this.#clock.now() ? until : undefined;
      },
    };
  }

  #existing(key: string): MemoryObject {
    const object = this.#objects.get(key);
    if (!object) throw missingObject(key, this.url);
    return object;
  }

  async close(): Promise<void> {
    // the objects live as long as the store is referred to
  }
}
