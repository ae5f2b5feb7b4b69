/**
 * What every ObjectStore is held to: one list of checks. The stores' tests run it (conformance.ts), and
 * `prima storage test` runs it on a user's own storage.
 */
import { MiB, type Random, seededRandom } from '@prima/base';
import type { ObjectInfo, ObjectStore } from './object-store.ts';

export interface StoreUnderTest {
  /** Empty. Closed by the suite. */
  store: ObjectStore;
  /** Another opening of the same store, as another process would have it; closed by the suite. */
  reopen?: () => Promise<ObjectStore>;
  /** Frees what was made besides the store; called after it was closed. */
  dispose?: () => Promise<void>;
}

interface CheckContext {
  store: ObjectStore;
  reopen: () => Promise<ObjectStore>;
  random: Random;
}

export interface StoreCheck {
  /** One or two words for people: what is promised. */
  promise: string;
  /** The same in a sentence. */
  meaning: string;
  /** The test's name. */
  title: string;
  /** Raises when the promise is not kept. */
  run: (context: CheckContext) => Promise<void>;
}

/** Makes a store, runs one check on it and closes it on every path. What is raised names the seed that repeats it. */
export async function runStoreCheck(
  check: StoreCheck,
  make: () => Promise<StoreUnderTest>,
  seed: number,
): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const { store, reopen, dispose } = await make();
  if (dispose) resources.defer(dispose);
  resources.defer(() => store.close());
  const openAgain = async () => {
    const again = reopen ? await reopen() : store;
    if (again !== store) resources.defer(() => again.close());
    return again;
  };
  try {
    await check.run({ store, reopen: openAgain, random: seededRandom(seed) });
  } catch (error) {
    throw new Error(`with PRIMA_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

/** Each is run on an empty store of its own. */
export const storeChecks: readonly StoreCheck[] = [
  {
    promise: 'whole objects',
    meaning: 'created once, read back byte for byte, seen by another connection',
    title: 'an object is created once, and read whole, in parts and by who opens the store anew',
    run: async (context) => {
      const { store, random } = context;
      const bytes = random.bytes(new Uint8Array(100_000));
      same(await store.putIfAbsent('config', bytes), 'created');
      same(await store.putIfAbsent('config', new Uint8Array(5)), 'exists');
      sameBytes(await store.get('config'), bytes);
      const again = await context.reopen();
      sameBytes(await again.get('config'), bytes);
      for (let round = 0; round < 20; round += 1) {
        const offset = random.below(bytes.length + 1);
        const length = random.below(bytes.length - offset + 1);
        const part = bytes.subarray(offset, offset + length);
        sameBytes(await again.get('config', { offset, length }), part);
        if (!again.readInto) continue;
        const into = new Uint8Array(new SharedArrayBuffer(length));
        await again.readInto('config', offset, into);
        sameBytes(into, part);
      }
      same((await again.stat('config'))?.size, bytes.length);
      (await store.get('config')).fill(0);
      sameBytes(await store.get('config'), bytes, 'what was got belongs to the caller');
    },
  },
  {
    promise: 'large objects',
    meaning: 'empty ones and 64 MiB',
    title: 'a body may be empty, of many pieces, in shared memory, and 64 MiB long',
    run: async ({ store, random }) => {
      same(await store.putIfAbsent('empty', new Uint8Array(0)), 'created');
      same(await store.putIfAbsent('none', []), 'created');
      same((await store.get('empty')).length, 0);
      same((await store.get('none', { offset: 0, length: 0 })).length, 0);
      const shared: Uint8Array = new Uint8Array(new SharedArrayBuffer(64 * MiB));
      random.bytes(shared.subarray(0, 4096));
      random.bytes(shared.subarray(shared.length - 4096));
      const pieces = Array.from({ length: 64 }, (_, index) =>
        shared.subarray(index * MiB, (index + 1) * MiB),
      );
      pieces.splice(3, 0, new Uint8Array(0));
      same(await store.putIfAbsent('packs/ab/large', pieces), 'created');
      sameBytes(await store.get('packs/ab/large'), shared);
      same(await store.putIfAbsent('packs/ab/one', shared.subarray(5, 70_000)), 'created');
      sameBytes(await store.get('packs/ab/one'), shared.subarray(5, 70_000));
    },
  },
  {
    promise: 'exact reads',
    meaning: 'byte ranges; what is missing or too short is an error, never zeros',
    title: 'a missing object is not-found, a range that stands out is an integrity error',
    run: async ({ store }) => {
      await store.putIfAbsent('packs/one', new Uint8Array(10));
      await rejects('not-found', () => store.get('packs/two'));
      await rejects('not-found', () => store.get('packs'));
      await rejects('not-found', () => store.get('packs/one/more'));
      await rejects('not-found', () => store.get('missing', { offset: 5, length: 1 }));
      await rejects('integrity', () => store.get('packs/one', { offset: 5, length: 6 }));
      await rejects('integrity', () => store.get('packs/one', { offset: 11, length: 0 }));
      await rejects('integrity', () => store.get('packs/one', { offset: 0, length: 2 ** 50 }));
      for (const key of ['packs/two', 'packs', 'packs/one/more']) same(await store.stat(key), undefined);
      if (!store.readInto) return;
      await rejects('not-found', async () => store.readInto?.('packs/two', 0, new Uint8Array(1)));
      await rejects('integrity', async () => store.readInto?.('packs/one', 5, new Uint8Array(6)));
    },
  },
  {
    promise: 'names',
    meaning: 'only names that every store can hold are used',
    title: 'keys that are none are a mistake of the caller',
    run: async ({ store }) => {
      const long = 'a'.repeat(201);
      for (const key of [
        '',
        '/a',
        'a/',
        'a//b',
        '.',
        '..',
        'a/../b',
        '.tmp-a',
        'a b',
        'ä',
        '1/2/3/4/5/6/7/8/9',
        long,
      ]) {
        await rejects('internal', () => store.putIfAbsent(key, new Uint8Array(1)));
        await rejects('internal', () => store.get(key));
        await rejects('internal', () => store.stat(key));
        await rejects('internal', () => store.delete(key));
      }
      await rejects('internal', async () => keysOf(store, '../'));
      same((await keysOf(store, '')).length, 0);
    },
  },
  {
    promise: 'complete lists',
    meaning: 'everything below a prefix, in order',
    title: 'a list has exactly what begins with the prefix, ascending',
    run: async ({ store, random }) => {
      const keys = new Set([
        'a-b',
        'a.b',
        'a/b',
        'a/b-c',
        'a/b.c',
        'a/c/d',
        'a0',
        'A/z',
        'ab/x',
        'a_b',
        'config',
        '0/1',
      ]);
      const letters = ['a', 'b', 'A', '0', '-', '.', '_', 'ab'];
      for (let i = 0; i < 60; i += 1) {
        const segment = () =>
          `k${Array.from({ length: random.below(3) }, () => letters[random.below(8)]).join('')}`;
        keys.add(
          Array.from({ length: 1 + random.below(3) }, () => `${segment()}d`)
            .concat(`${segment()}f`)
            .join('/'),
        );
      }
      await Promise.all([...keys].map((key) => store.putIfAbsent(key, new Uint8Array(key.length))));
      const prefixes = [
        '',
        'a',
        'a/',
        'a/b',
        'a/b-',
        'a/c/',
        'a/c/d',
        'k',
        'kad/',
        'kd/k',
        'nothing',
        'nothing/at/all',
      ];
      for (const prefix of prefixes) {
        const expected = [...keys].filter((key) => key.startsWith(prefix)).sort();
        same(JSON.stringify(await keysOf(store, prefix)), JSON.stringify(expected), `list of "${prefix}"`);
        const names = (await Array.fromAsync(store.list(prefix, { namesOnly: true }))).map(({ key }) => key);
        same(JSON.stringify(names), JSON.stringify(expected), `names of "${prefix}"`);
      }
      for await (const info of store.list('')) {
        same(info.size, info.key.length);
        const found: ObjectInfo | undefined = await store.stat(info.key);
        same(found?.modified, info.modified);
      }
    },
  },
  {
    promise: 'deletes',
    meaning: 'may be repeated; the name can be used again',
    title: 'a delete may be repeated, and the key may be created anew',
    run: async ({ store, reopen }) => {
      await store.putIfAbsent('locks/a', new Uint8Array(3));
      await store.putIfAbsent('locks/b', new Uint8Array(3));
      await Promise.all([store.delete('locks/a'), store.delete('locks/a'), store.delete('never/was')]);
      await store.delete('locks');
      same((await keysOf(await reopen(), '')).join(), 'locks/b');
      same(await store.putIfAbsent('locks/a', new Uint8Array(4)), 'created');
      same((await store.get('locks/a')).length, 4);
    },
  },
  {
    promise: 'create once',
    meaning: 'of eight writers at once exactly one creates an object; nobody sees half of it',
    title: 'of several who create a key at once one does, and nobody sees a part of it',
    run: async ({ store, reopen }) => {
      const other = await reopen();
      const size = 2 * MiB;
      for (let round = 0; round < 4; round += 1) {
        const key = `race/r${round}`;
        const race = new AbortController();
        const watch = async () => {
          while (!race.signal.aborted) {
            const seen = await store.stat(key);
            if (seen) same(seen.size, size);
            for (const found of await sizesOf(store, 'race/')) same(found, size);
            await new Promise((resolve) => setImmediate(resolve));
          }
        };
        const puts = Promise.all(
          Array.from({ length: 8 }, (_, index) =>
            (index % 2 ? store : other).putIfAbsent(key, new Uint8Array(size).fill(index)),
          ),
        ).finally(() => race.abort());
        const [put, watched] = await Promise.allSettled([puts, watch()]);
        if (watched.status === 'rejected') throw watched.reason;
        if (put.status === 'rejected') throw put.reason;
        const outcomes = put.value;
        same(outcomes.filter((outcome) => outcome === 'created').length, 1);
        const stored = await store.get(key);
        sameBytes(stored, new Uint8Array(size).fill(outcomes.indexOf('created')));
      }
    },
  },
  {
    promise: 'steady lists',
    meaning: 'what stays is listed while other objects come and go',
    title: 'a list goes on while objects come and go',
    run: async ({ store }) => {
      const key = (index: number) => `objects/o${String(index).padStart(3, '0')}`;
      const all = Array.from({ length: 100 }, (_, index) => index);
      await Promise.all(all.map((index) => store.putIfAbsent(key(index), new Uint8Array(1))));
      const seen: string[] = [];
      for await (const { key: found } of store.list('objects/')) {
        if (seen.length === 0)
          await Promise.all(all.filter((i) => i % 2 === 1).map((i) => store.delete(key(i))));
        seen.push(found);
      }
      const kept = all.filter((index) => index % 2 === 0).map(key);
      same(kept.filter((name) => !seen.includes(name)).join(), '', 'what stays is listed');
      same(JSON.stringify(seen), JSON.stringify([...seen].sort()));
    },
  },
  {
    promise: 'retention',
    meaning: 'nobody can delete what is kept before its time',
    title: 'what the store keeps is not deleted, and is kept for longer only',
    run: async ({ store, reopen }) => {
      const { retention } = store;
      if (retention === undefined) return; // not promised here
      await store.putIfAbsent('points/kept', new Uint8Array(7));
      await store.putIfAbsent('points/free', new Uint8Array(7));
      same(await retention.retainedUntil('points/kept'), undefined);
      const byItsClock = (await store.stat('points/kept'))?.modified ?? 0;
      const until = byItsClock + 60_000;
      await retention.retain('points/kept', until);
      await retention.retain('points/kept', until - 30_000);
      const kept = (await (await reopen()).retention?.retainedUntil('points/kept')) ?? 0;
      if (kept < until || kept >= until + 2000)
        same(kept, until, 'time until which it is kept, in whole seconds');
      await rejects('refused', () => store.delete('points/kept'));
      same((await store.get('points/kept')).length, 7);
      same(await store.putIfAbsent('points/kept', new Uint8Array(8)), 'exists');
      await retention.retain('points/kept', until + 10_000);
      if (((await retention.retainedUntil('points/kept')) ?? 0) < until + 10_000) same('shorter', 'extended');
      await store.delete('points/free');
      same((await keysOf(store, '')).join(), 'points/kept');
      await rejects('not-found', () => retention.retain('points/none', until));
      await rejects('not-found', () => retention.retainedUntil('points/none'));
    },
  },
  {
    promise: 'cancelling',
    meaning: 'a cancelled call ends at once',
    title: 'an aborted signal cancels',
    run: async ({ store }) => {
      const signal = AbortSignal.abort();
      await rejects('cancelled', () => store.putIfAbsent('a', new Uint8Array(1), { signal }));
      await store.putIfAbsent('b', new Uint8Array(1));
      await rejects('cancelled', () => store.get('b', undefined, { signal }));
      await rejects('cancelled', () => store.stat('b', { signal }));
      await rejects('cancelled', () => store.delete('b', { signal }));
      await rejects('cancelled', async () => Array.fromAsync(store.list('', { signal })));
      same((await keysOf(store, '')).join(), 'b');
    },
  },
  {
    promise: 'closing',
    meaning: 'leaves nothing behind',
    title: 'closing twice is no mistake',
    run: async ({ store }) => {
      await Promise.all([store.close(), store.close()]);
    },
  },
];

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

async function sizesOf(store: ObjectStore, prefix: string): Promise<number[]> {
  const sizes: number[] = [];
  for await (const { size } of store.list(prefix)) sizes.push(size);
  return sizes;
}

function same(found: unknown, expected: unknown, what = 'value'): void {
  if (found !== expected) throw new Error(`${what} is ${String(found)}, expected ${String(expected)}`);
}

function sameBytes(found: Uint8Array, expected: Uint8Array, what = 'object'): void {
  same(found.length, expected.length, `length of ${what}`);
  if (Buffer.compare(found, expected) === 0) return;
  const at = expected.findIndex((byte, index) => byte !== found[index]);
  throw new Error(`${what}: byte ${at} is ${found[at]}, expected ${expected[at]}`);
}

async function rejects(code: string, call: () => Promise<unknown>): Promise<void> {
  const raised = await call().then(
    () => 'nothing',
    (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : String(error)),
  );
  same(raised, code, 'error');
}
