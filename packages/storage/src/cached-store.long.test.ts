import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import { filterStore } from './filter-store.ts';
import { cachedStore, type CacheOptions, countingStore, memoryStore, type ObjectStore } from './mod.ts';

const session = 'ab'.repeat(16);
const outcome = `sessions/${session}/outcome`;
const segment = `index/${session}-1`;
const metaPack = `packs/meta/ab/${'ab'.repeat(32)}`;
const dataPack = `packs/data/ab/${'ab'.repeat(32)}`;

/** A store with a repository's kinds of objects, and a function that opens it through the cache once more. */
async function setUp(t: TestContext, options: Partial<CacheOptions> = {}) {
  const stack = new AsyncDisposableStack(); // stores write in the background until they are closed: the folder goes last
  t.after(() => stack.disposeAsync());
  const folder = await mkdtemp(join(tmpdir(), 'prima-cache-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const inner = countingStore(memoryStore());
  const objects = new Map<string, Buffer>();
  const others = [`sessions/${session}/marker`, `sessions/${session}/forgotten`, `condemned/${session}`];
  for (const key of ['config', 'keys/a', outcome, segment, 'log/0000000001', ...others]) {
    objects.set(key, randomBytes(1000));
  }
  for (const key of [metaPack, dataPack]) objects.set(key, randomBytes(256 * KiB));
  for (const [key, bytes] of objects) await inner.putIfAbsent(key, bytes);
  const open = async (store: ObjectStore = inner) => {
    const opened = cachedStore(store, { folder, limitBytes: 16 * MiB, ...options });
    stack.defer(() => opened.close());
    await opened.get('config');
    return opened;
  };
  return { folder, inner, objects, open };
}

/** Requests that `work` makes. */
async function gets(inner: { counts: { get: number } }, work: () => Promise<unknown>): Promise<number> {
  const before = inner.counts.get;
  await work();
  return inner.counts.get - before;
}

async function filesBelow(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

test('metadata is read once, by whoever shares the folder; the rest is read each time', async (t) => {
  const { inner, objects, open } = await setUp(t);
  const first = await open();
  for (const key of [outcome, segment, 'log/0000000001']) {
    assert.equal(await gets(inner, () => first.get(key)), 1, key);
  }
  await first.close();
  const second = await open();
  for (const key of [outcome, segment, 'log/0000000001']) {
    assert.equal(await gets(inner, async () => assert.deepEqual(await second.get(key), objects.get(key))), 0);
  }
  for (const key of objects.keys()) {
    if ([outcome, segment, 'log/0000000001', metaPack].includes(key)) continue;
    await second.get(key);
    assert.equal(
      await gets(inner, async () =>
        assert.deepEqual(await second.get(key), Uint8Array.from(objects.get(key) ?? [])),
      ),
      1,
      key,
    );
  }
  await assert.rejects(second.get(`index/${'cd'.repeat(16)}-1`), { code: 'not-found' });
  await assert.rejects(second.get(segment, { offset: 999, length: 2 }), { code: 'integrity' });
});

test('a metadata pack is read in ranges, then whole', async (t) => {
  const { inner, objects, open } = await setUp(t);
  const store = await open();
  const page = async (from: ObjectStore, n: number) => {
    const bytes = await from.get(metaPack, { offset: n * KiB, length: KiB });
    assert.deepEqual(Buffer.from(bytes), objects.get(metaPack)?.subarray(n * KiB, (n + 1) * KiB));
    bytes.fill(0); // belongs to the caller
  };
  assert.equal(await gets(inner, () => page(store, 0)), 1);
  assert.equal(await gets(inner, () => page(store, 1)), 1);
  assert.equal(await gets(inner, () => page(store, 2)), 1);
  assert.equal(
    await gets(inner, async () => {
      for (let n = 0; n < 200; n += 1) await page(store, n);
    }),
    0,
  );
  await store.close();
  const again = await open();
  assert.equal(
    await gets(inner, async () => {
      for (let n = 0; n < 200; n += 1) await page(again, n);
    }),
    0,
  );
  await assert.rejects(again.get(metaPack, { offset: 256 * KiB, length: 1 }), { code: 'integrity' });
});

test('a range of a data pack is kept when it is read again', async (t) => {
  const { inner, open } = await setUp(t);
  const range = { offset: 100, length: 5000 };
  const store = await open();
  assert.equal(await gets(inner, () => store.get(dataPack, range)), 1);
  assert.equal(await gets(inner, () => store.get(dataPack, range)), 1);
  await store.close();
  const again = await open();
  assert.equal(await gets(inner, () => again.get(dataPack, range)), 0);
  const without = await setUp(t, { hotData: false });
  const plain = await without.open();
  assert.equal(
    await gets(without.inner, async () => {
      for (let n = 0; n < 4; n += 1) await plain.get(dataPack, range);
    }),
    4,
  );
});

test('what is created is kept; what is deleted is forgotten', async (t) => {
  const { inner, open } = await setUp(t);
  const store = await open();
  const key = `index/${'cd'.repeat(16)}-1`;
  await store.putIfAbsent(key, [Buffer.from('seg'), Buffer.from('ment')]);
  await store.close();
  const again = await open();
  assert.equal(
    await gets(inner, async () => assert.equal(Buffer.from(await again.get(key)).toString(), 'segment')),
    0,
  );
  await again.delete(key);
  await assert.rejects(again.get(key), { code: 'not-found' });
});

test('a fresh read goes to the store, and replaces what was given before', async (t) => {
  const { inner, open } = await setUp(t);
  let isWrong = true; // as a bit that flips on the way
  const flipping = filterStore(inner, {
    get: async (key, range, options) => {
      const bytes = await inner.get(key, range, options);
      if (isWrong && key !== 'config') bytes.fill(0);
      return bytes;
    },
  });
  const store = await open(flipping);
  await store.get(segment);
  for (let n = 0; n < 3; n += 1) await store.get(metaPack, { offset: n, length: 1 });
  await store.close();
  isWrong = false;
  const again = await open(flipping);
  const range = { offset: 7, length: 9 };
  assert.ok(Buffer.from(await again.get(segment)).equals(Buffer.alloc(1000)));
  assert.ok(Buffer.from(await again.get(metaPack, range)).equals(Buffer.alloc(9)));
  assert.deepEqual(await again.get(segment, undefined, { fresh: true }), await inner.get(segment));
  assert.deepEqual(await again.get(metaPack, range, { fresh: true }), await inner.get(metaPack, range));
  assert.deepEqual(await again.get(metaPack, range), await inner.get(metaPack, range));
  await again.close();
  assert.deepEqual(Uint8Array.from(await (await open(flipping)).get(segment)), await inner.get(segment));
});

test('another repository at the same place does not see the entries', async (t) => {
  const { inner, open } = await setUp(t);
  await (await open()).get('log/0000000001');
  await inner.delete('config');
  await inner.delete('log/0000000001');
  await inner.putIfAbsent('config', Buffer.from('another'));
  await inner.putIfAbsent('log/0000000001', Buffer.from('entry'));
  const store = await open();
  assert.equal(Buffer.from(await store.get('log/0000000001')).toString(), 'entry');
});

test('where lists lag, index segments are not kept', async (t) => {
  const { inner, open } = await setUp(t);
  const store = await open(filterStore(inner, { settleMs: 60_000 }));
  for (const n of [1, 1, 1]) assert.equal(await gets(inner, () => store.get(segment)), n);
});

test('damage to the cache costs time, and nothing else', async (t) => {
  const seed = Date.now() % 1_000_000;
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const { folder, objects, open } = await setUp(t);
  const readAll = async () => {
    const store = await open();
    for (const key of [outcome, segment, 'log/0000000001', metaPack]) {
      assert.deepEqual(Buffer.from(await store.get(key)), objects.get(key), `seed ${seed}: ${key}`);
    }
    for (let n = 0; n < 3; n += 1) {
      const range = { offset: n * 100, length: 100 };
      const wanted = objects.get(dataPack)?.subarray(n * 100, n * 100 + 100);
      for (let again = 0; again < 2; again += 1) {
        assert.deepEqual(Buffer.from(await store.get(dataPack, range)), wanted, `seed ${seed}`);
      }
    }
    await store.close();
  };
  await readAll();
  for (let round = 0; round < 12; round += 1) {
    const files = await filesBelow(folder);
    const bodies = await Promise.all(files.map((path) => readFile(path)));
    for (const [index, path] of files.entries()) {
      const body = bodies[index] ?? Buffer.alloc(0);
      const kind = random.below(6);
      const at = random.below(Math.max(1, body.length));
      if (kind === 0) await writeFile(path, body.subarray(0, at));
      else if (kind === 1)
        await writeFile(path, body.fill((body[at] ?? 0) ^ (1 << random.below(8)), at, at + 1));
      else if (kind === 2) await writeFile(path, bodies[random.below(bodies.length)] ?? body);
      else if (kind === 3) await rm(path);
    }
    await readAll();
  }
});

test('the folder may vanish at any time, and be a file', async (t) => {
  const { folder, objects, open } = await setUp(t);
  const store = await open();
  const vanish = async () => {
    for (let n = 0; n < 20; n += 1) await rm(folder, { recursive: true, force: true, maxRetries: 20 });
  };
  const read = async () => {
    for (let n = 0; n < 100; n += 1) {
      for (const key of [outcome, segment])
        assert.deepEqual(Buffer.from(await store.get(key)), objects.get(key));
    }
  };
  await Promise.all([vanish(), read(), read()]);
  await store.close();
  await rm(folder, { recursive: true, force: true });
  await writeFile(folder, '');
  const other = await open();
  assert.deepEqual(Buffer.from(await other.get(segment)), objects.get(segment));
  await other.close();
});

test('entries are private', async (t) => {
  const { folder, open } = await setUp(t);
  const store = await open();
  await store.get(segment);
  await store.close();
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  const files = await filesBelow(folder);
  assert.equal(files.length, 2);
  for (const path of files) assert.equal((await stat(path)).mode & 0o777, 0o600, path);
});

test('the cache keeps within its limit, over all who share it, and what was used last stays longest', async (t) => {
  const limitBytes = MiB;
  const { folder, inner, open } = await setUp(t, { limitBytes });
  const total = async () =>
    (await Promise.all((await filesBelow(folder)).map((path) => stat(path)))).reduce(
      (sum, { size }) => sum + size,
      0,
    );
  const key = (n: number) => `index/${session}-${n}`;
  for (let n = 2; n < 202; n += 1) await inner.putIfAbsent(key(n), randomBytes(20_000));
  for (let round = 0; round < 20; round += 1) {
    const stores = [await open(), await open()];
    for (let n = 0; n < 10; n += 1) await stores[n % 2]?.get(key(2 + round * 10 + n));
    if (round > 10) await stores[0]?.get(key(2)); // used again and again
    await Promise.all(stores.map((store) => store.close()));
    if (round === 10) {
      const old = Date.now() / 1000 - 3600;
      for (const path of await filesBelow(folder)) await utimes(path, old, old);
    }
    const bytes = await total();
    assert.ok(bytes <= limitBytes * 1.05, `round ${round}: ${bytes} bytes`);
  }
  const last = await open();
  assert.equal(await gets(inner, () => last.get(key(201))), 0);
  assert.equal(await gets(inner, () => last.get(key(2))), 0);
  assert.equal(await gets(inner, () => last.get(key(50))), 1);
});
