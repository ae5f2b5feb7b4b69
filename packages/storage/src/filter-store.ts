/** The base of stores that wrap one store: every call goes to the wrapped one but those the filter answers itself. */
import type { ObjectStore, Retention } from './object-store.ts';

/** Calls that a wrapper answers itself. Those on retention are left out where `store` has none. */
export type StoreFilter = Partial<Omit<ObjectStore, 'retention'> & Retention>;

/**
 * A store whose calls are those of `filter`, and of `store` where `filter` has none; the same goes for what the store
 * says of itself. Closing it closes `store`.
 */
export function filterStore(store: ObjectStore, filter: StoreFilter): ObjectStore {
  const { retention } = store;
  return {
    url: filter.url ?? store.url,
    packBytes: filter.packBytes ?? store.packBytes,
    settleMs: filter.settleMs ?? store.settleMs,
    paces: filter.paces ?? store.paces,
    retention: retention && {
      retain: filter.retain ?? ((key, until, options) => retention.retain(key, until, options)),
      retainedUntil: filter.retainedUntil ?? ((key, options) => retention.retainedUntil(key, options)),
    },
    putIfAbsent: filter.putIfAbsent ?? ((key, body, options) => store.putIfAbsent(key, body, options)),
    get: filter.get ?? ((key, range, options) => store.get(key, range, options)),
    stat: filter.stat ?? ((key, options) => store.stat(key, options)),
    list: filter.list ?? ((prefix, options) => store.list(prefix, options)),
    delete: filter.delete ?? ((key, options) => store.delete(key, options)),
    close: filter.close ?? (() => store.close()),
  };
}
