/** A store in memory that remembers every change in order, so that any moment can be played again. */
import { memoryStore, type ObjectStore } from '@prima/storage';

/** One change that a store made durable. */
export interface Change {
  key: string;
  /** What was stored; undefined for a deletion. */
  body: Uint8Array | undefined;
}

export interface RecordingStore {
  store: ObjectStore;
  /** All changes so far, in the order in which they were done. */
  changes: Change[];
}

/** A store that begins with `changes` done. */
export async function recordingStore(changes: readonly Change[] = []): Promise<RecordingStore> {
  const inner = memoryStore();
  for (const { key, body } of changes) {
    if (body) await inner.putIfAbsent(key, body);
    else await inner.delete(key);
  }
  const recorded = [...changes];
  const store: ObjectStore = {
    url: inner.url,
    putIfAbsent: async (key, body, options) => {
      const result = await inner.putIfAbsent(key, body, options);
      if (result === 'created') recorded.push({ key, body: await inner.get(key) });
      return result;
    },
    get: (key, range, options) => inner.get(key, range, options),
    stat: (key, options) => inner.stat(key, options),
    list: (prefix, options) => inner.list(prefix, options),
    delete: async (key, options) => {
      const isThere = (await inner.stat(key)) !== undefined;
      await inner.delete(key, options);
      if (isThere) recorded.push({ key, body: undefined });
    },
    close: () => inner.close(),
  };
  return { store, changes: recorded };
}
