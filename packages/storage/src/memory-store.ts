/** Objects in memory, for tests. */
import { throwIfAborted } from '@prima/base';
import type { ObjectBody, ObjectInfo, ObjectRange, ObjectStore, StoreCallOptions } from './object-store.ts';
import { assertKey, assertPrefix, missingObject, piecesOf, rangeWithin } from './store-key.ts';

/** A store that is gone with the process. Bodies are copied when they are put and when they are got. */
export function memoryStore(): ObjectStore {
  return new MemoryStore();
}

class MemoryStore implements ObjectStore {
  readonly url = 'memory';
  readonly #objects = new Map<string, { bytes: Uint8Array; modified: number }>();

  async putIfAbsent(
    key: string,
    body: ObjectBody,
    options: StoreCallOptions = {},
  ): Promise<'created' | 'exists'> {
    assertKey(key);
    throwIfAborted(options.signal, `storing ${key} in memory`);
    if (this.#objects.has(key)) return 'exists';
    this.#objects.set(key, { bytes: Buffer.concat(piecesOf(body)), modified: Date.now() });
    return 'created';
  }

  async get(key: string, range?: ObjectRange, options: StoreCallOptions = {}): Promise<Uint8Array> {
    assertKey(key);
    throwIfAborted(options.signal, `reading ${key} in memory`);
    const object = this.#objects.get(key);
    if (!object) throw missingObject(key, this.url);
    const { offset, length } = rangeWithin({ key, url: this.url, size: object.bytes.length }, range);
    return Uint8Array.from(object.bytes.subarray(offset, offset + length));
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
    this.#objects.delete(key);
  }

  async close(): Promise<void> {
    // the objects live as long as the store is referred to
  }
}
