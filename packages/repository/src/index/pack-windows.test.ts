import assert from 'node:assert/strict';
import { test } from 'node:test';
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
    const got = await windows.get({ key: 'packs/p', ...blob, packSize: bytes.length }, {});
    assert.ok(
      Buffer.from(got).equals(bytes.subarray(blob.offset, blob.offset + blob.length)),
      `seed ${seed}`,
    );
    assert.equal(got.byteLength, got.buffer.byteLength, 'memory of its own');
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
    const got = await windows.get({ key: 'packs/p', offset, length: 300 * KiB, packSize: bytes.length }, {});
    assert.ok(Buffer.from(got).equals(bytes.subarray(offset, offset + 300 * KiB)));
  }
  // the index says that the pack is longer than it is
  const short = new PackWindows(plain);
  for (const offset of [8, 300 * KiB]) {
    const got = await short.get({ key: 'packs/p', offset, length: 200 * KiB, packSize: 64 * MiB }, {});
    assert.ok(Buffer.from(got).equals(bytes.subarray(offset, offset + 200 * KiB)));
  }
});
