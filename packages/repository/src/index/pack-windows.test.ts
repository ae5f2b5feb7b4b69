import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { KiB, MiB, PrimaError, seededRandom } from '@prima/base';
import { countingStore, memoryStore, type ObjectStore } from '@prima/storage';
import { PackWindows } from './pack-windows.ts';

const seed = Date.now() % 1_000_000;

async function packOf(bytes: Uint8Array) {
  const store = memoryStore();
  await store.putIfAbsent('packs/p', bytes);
  return store;
}

test('blobs that are asked for in order cost few requests, others one each, and all are right', async () => {
  const random = seededRandom(seed);
  const bytes = random.bytes(new Uint8Array(32 * MiB));
  const store = countingStore(await packOf(bytes));
  const blobs: { offset: number; length: number }[] = [];
  for (let offset = 8; offset < bytes.length - 600 * KiB; ) {
    const length = 100 * KiB + random.below(500 * KiB);
    blobs.push({ offset, length });
    offset += length;
  }
  const read = async (windows: PackWindows, blob: { offset: number; length: number }) => {
    const range = { key: 'packs/p', ...blob, packSize: bytes.length };
    const expected = bytes.subarray(blob.offset, blob.offset + blob.length);
    await windows.use(range, {}, async (got) => {
      for (let look = 0; look < 3; look += 1) {
        assert.equal(Buffer.compare(got, expected), 0, `look ${look}, seed ${seed}`);
        await setImmediate(); // while others come and go
      }
      const isOwn = got.byteLength === got.buffer.byteLength;
      assert.ok(isOwn || got.buffer instanceof SharedArrayBuffer, 'nothing else goes with it');
    });
  };
  const inOrder = new PackWindows(store);
  for (let at = 0; at < blobs.length; at += 8) {
    await Promise.all(blobs.slice(at, at + 8).map((blob) => read(inOrder, blob)));
  }
  assert.ok(store.counts.get <= 10, `${store.counts.get} requests for ${blobs.length} blobs`);
  assert.ok(store.counts.bytesRead < 1.2 * bytes.length);

  const before = store.counts.get;
  const scattered = new PackWindows(store);
  const backwards = blobs.toReversed();
  for (const blob of backwards) await read(scattered, blob);
  assert.equal(store.counts.get - before, backwards.length);
  assert.ok(store.counts.bytesRead < 2.3 * bytes.length);
});

test('a window that cannot be read costs nothing but itself', async () => {
  const bytes = seededRandom(seed).bytes(new Uint8Array(4 * MiB));
  const plain = await packOf(bytes);
  const store: ObjectStore = {
    ...plain,
    get: async (key, range, options) => {
      if ((range?.length ?? 0) > MiB) throw new PrimaError('io', 'too much at once');
      return await plain.get(key, range, options);
    },
  };
  const windows = new PackWindows(store);
  for (let offset = 8; offset + 300 * KiB < bytes.length; offset += 300 * KiB) {
    const range = { key: 'packs/p', offset, length: 300 * KiB, packSize: bytes.length };
    const got = await windows.use(range, {}, async (lent) => Buffer.from(lent));
    assert.ok(got.equals(bytes.subarray(offset, offset + 300 * KiB)));
  }
  // the index says that the pack is longer than it is
  const short = new PackWindows(plain);
  for (const offset of [8, 300 * KiB]) {
    const range = { key: 'packs/p', offset, length: 200 * KiB, packSize: 64 * MiB };
    const got = await short.use(range, {}, async (lent) => Buffer.from(lent));
    assert.ok(got.equals(bytes.subarray(offset, offset + 200 * KiB)));
  }
});

test('memory that is lent is left alone while somebody looks at it', async () => {
  const random = seededRandom(seed);
  const plain = memoryStore();
  const packs = Array.from({ length: 12 }, () => random.bytes(new Uint8Array(3 * MiB)));
  for (const [i, bytes] of packs.entries()) await plain.putIfAbsent(`packs/${i}`, bytes);
  const memories = new Set<ArrayBufferLike>();
  let reads = 0;
  const store: ObjectStore = {
    ...countingStore(plain),
    readInto: async (key, offset, into) => {
      reads += 1;
      memories.add(into.buffer);
      await turns(random.below(4));
      await plain.readInto?.(key, offset, into);
    },
  };
  const windows = new PackWindows(store);
  const followPack = async (bytes: Uint8Array, i: number) => {
    for (let offset = 8, length = 0; ; offset += length) {
      length = 50_000 + random.below(400_000);
      if (offset + length > bytes.length) return;
      const controller = new AbortController();
      const isCancelled = random.below(8) === 0;
      const range = { key: `packs/${i}`, offset, length, packSize: bytes.length };
      const looked = windows.use(range, { signal: controller.signal }, async (lent) => {
        await turns(random.below(6));
        assert.equal(Buffer.compare(lent, bytes.subarray(offset, offset + length)), 0, `seed ${seed}`);
      });
      if (isCancelled) controller.abort(new PrimaError('cancelled', 'somebody else'));
      await looked.catch((error: unknown) => {
        if (!isCancelled || !(error instanceof PrimaError) || error.code !== 'cancelled') throw error;
      });
    }
  };
  const readers = packs.flatMap((bytes, i) => [followPack(bytes, i), followPack(bytes, i)]);
  await Promise.all(readers);
  assert.ok(reads > 2 * memories.size, `${reads} windows in ${memories.size} pieces of memory`);
});

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await setImmediate();
}
