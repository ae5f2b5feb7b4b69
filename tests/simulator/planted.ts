/**
 * Faults of the protocol that can be planted, to see that the simulator finds them. None is in the product: each is made
 * by a store that does some calls at another time than it says, or hides what is there.
 */
import type { ObjectInfo, ObjectStore } from '@prima/storage';
import type { DiskOptions, SimulatedDisk } from './simulated-disk.ts';

export interface Planted {
  /** What is wrong, in words. */
  what: string;
  /** The store as a process with this role sees it. */
  wrap?: (store: ObjectStore, parts: { role: string; disk: SimulatedDisk }) => ObjectStore;
  disk?: DiskOptions;
  /** What shows it, and so happens more often than otherwise: see `Chances`. */
  chances?: Partial<Chances>;
}

/** Of a disturbance before a step: one in so many. */
export interface Chances {
  kill: number;
  /** Everybody is held up for longer than a lease. */
  jump: number;
  powerLoss: number;
}

const isOutcome = (key: string) => /^sessions\/[0-9a-f]+\/outcome$/.test(key);
const isMarker = (key: string) => /^sessions\/[0-9a-f]+\/marker$/.test(key);
const sessionOf = (key: string) => key.slice('sessions/'.length, key.lastIndexOf('/'));

/** `store` where a list leaves out what `isHidden` names; `before` is told of each list. */
function hiding(
  store: ObjectStore,
  isHidden: (info: ObjectInfo, all: readonly ObjectInfo[]) => boolean,
  before: (prefix: string) => void = () => undefined,
): ObjectStore {
  return {
    ...store,
    list: async function* (prefix, options) {
      before(prefix);
      const all: ObjectInfo[] = [];
      for await (const info of store.list(prefix, options)) all.push(info);
      yield* all.filter((info) => !isHidden(info, all));
    },
  };
}

/** `store` where puts of `isLate` are answered at once and done before the first call that `isTime`. */
function postponing(
  store: ObjectStore,
  isLate: (key: string) => boolean,
  isTime: (operation: 'put' | 'delete', key: string) => boolean,
): ObjectStore {
  let late: (() => Promise<unknown>)[] = [];
  const catchUp = async (operation: 'put' | 'delete', key: string) => {
    if (!isTime(operation, key)) return;
    const due = late;
    late = [];
    for (const task of due) await task();
  };
  return {
    ...store,
    putIfAbsent: async (key, body, options) => {
      if (isLate(key)) {
        const bytes = Buffer.concat(body instanceof Uint8Array ? [body] : body);
        late.push(() => store.putIfAbsent(key, bytes, options));
        return 'created';
      }
      await catchUp('put', key);
      return await store.putIfAbsent(key, body, options);
    },
    delete: async (key, options) => {
      await catchUp('delete', key);
      await store.delete(key, options);
    },
  };
}

export const plantedFaults: Record<string, Planted> = {
  'shares-condemned': {
    what: 'writers do not look at condemned lists',
    wrap: (store, { role }) =>
      role === 'backup' ? hiding(store, ({ key }) => key.startsWith('condemned/')) : store,
  },
  'stale-parent': {
    what: 'writers do not look again whether the point is there that they build on',
    wrap: (store, { role }) => (role === 'backup' ? trustingParents(store) : store),
  },
  'late-marker': {
    what: 'writers read the index first and make their marker when they store something',
    wrap: (store, { role }) =>
      role === 'backup'
        ? postponing(store, isMarker, (_operation, key) => /^(?:packs|index)\/|outcome$/.test(key))
        : store,
  },
  'no-wait': {
    what: 'collections neither wait for others nor fence them',
    wrap: (store, { role }) => {
      if (role !== 'collect') return store;
      const isDecided = (id: string, all: readonly ObjectInfo[]) =>
        all.some(({ key }) => key === `sessions/${id}/outcome`);
      return hiding(store, ({ key }, all) => isMarker(key) && !isDecided(sessionOf(key), all));
    },
  },
  'no-second-mark': {
    what: 'collections mark once, before they wait, and take it for what is there at the end',
    wrap: (store, { role }) => (role === 'collect' ? markingOnce(store) : store),
  },
  'deletes-first': {
    what: 'collections delete before their outcome is decided',
    wrap: (store, { role }) =>
      role === 'collect'
        ? postponing(
            store,
            isOutcome,
            (operation, key) => operation === 'delete' && key.startsWith('sessions/'),
          )
        : store,
  },
  'fence-overwritten': {
    what: 'the store lets a late writer overwrite the outcome by which it was given up on',
    chances: { jump: 60 },
    wrap: (store, { role, disk }) =>
      role === 'backup'
        ? {
            ...store,
            putIfAbsent: async (key, body, options) => {
              if (isOutcome(key)) disk.unlink(key);
              return await store.putIfAbsent(key, body, options);
            },
          }
        : store,
  },
  'forgets-fences': {
    what: 'collections remove the outcomes of sessions that they gave up on',
    chances: { jump: 60 },
    wrap: (store, { role }) =>
      role === 'collect'
        ? {
            ...store,
            delete: async (key, options) => {
              await store.delete(key, options);
              // of decided sessions that stay only what is not the outcome is deleted
              if (isMarker(key)) await store.delete(key.replace(/marker$/, 'outcome'), options);
            },
          }
        : store,
  },
  'no-pin': {
    what: 'readers do not pin what they read',
    wrap: (store, { role }) =>
      role === 'read'
        ? {
            ...store,
            putIfAbsent: async (key, body, options) =>
              isMarker(key) ? 'created' : await store.putIfAbsent(key, body, options),
          }
        : store,
  },
  'packs-after-outcome': {
    what: 'packs are stored only when the outcome was',
    chances: { kill: 60 },
    wrap: (store, { role }) => (role === 'backup' ? outcomeFirst(store) : store),
  },
  'no-folder-sync': {
    what: 'names are not made durable',
    disk: { ignoresSync: true },
    chances: { powerLoss: 100 },
  },
  'no-file-sync': {
    what: 'names are linked before the bytes are on the disk',
    disk: { linksBeforeSync: true },
    chances: { powerLoss: 100 },
  },
};

/** Whoever looks at one session finds its outcome, and no mark. */
function trustingParents(store: ObjectStore): ObjectStore {
  return {
    ...store,
    list: async function* (prefix, options) {
      if (/^sessions\/[0-9a-f]{32}\/$/.test(prefix)) yield { key: `${prefix}outcome`, size: 1, modified: 1 };
      else yield* store.list(prefix, options);
    },
  };
}

/** From the second look on, what was decided since the first one is not seen. */
function markingOnce(store: ObjectStore): ObjectStore {
  let known: Set<string> | undefined;
  let hasCondemned = false;
  let looksAgain = false;
  const seen = new Set<string>();
  const listing = hiding(
    store,
    ({ key }) => {
      if (!hasCondemned) seen.add(key);
      return looksAgain && (isOutcome(key) || key.startsWith('log/')) && known?.has(key) === false;
    },
    (prefix) => {
      if (hasCondemned && prefix === 'log/') looksAgain = true;
    },
  );
  return {
    ...listing,
    putIfAbsent: async (key, body, options) => {
      if (key.startsWith('condemned/')) {
        hasCondemned = true;
        known = new Set(seen);
      }
      return await store.putIfAbsent(key, body, options);
    },
  };
}

function outcomeFirst(store: ObjectStore): ObjectStore {
  const late: (() => Promise<unknown>)[] = [];
  return {
    ...store,
    putIfAbsent: async (key, body, options) => {
      if (key.startsWith('packs/')) {
        const bytes = Buffer.concat(body instanceof Uint8Array ? [body] : body);
        late.push(() => store.putIfAbsent(key, bytes, options));
        return 'created';
      }
      const result = await store.putIfAbsent(key, body, options);
      if (isOutcome(key)) for (const task of late.splice(0)) await task();
      return result;
    },
  };
}
