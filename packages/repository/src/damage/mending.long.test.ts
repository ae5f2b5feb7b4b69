/** Damage that reading finds, and what the next backup and collection do about it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { faultyStore, type ObjectStore } from '@prima/storage';
import { mergeRanges, type Range, seededRandom } from '@prima/base';
import {
  backUp,
  bytesOf,
  chunk,
  flipped,
  gone,
  keysOf,
  newLab,
  randomDisk,
  reopened,
  replaceObject,
  restored,
} from './damage-fixture.ts';

test('a chunk that a restore finds damaged is mended by the next backup, for all points that use it', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(12);
  const first = await backUp(repository, device);
  const [pack = ''] = await keysOf(store, 'packs/data/');
  await replaceObject(store, pack, flipped(200_000));
  await assert.rejects(restored(repository, first.point), { code: 'integrity' });
  assert.equal((await keysOf(store, 'damaged/')).length, 1, 'recorded at the end of the reading');
  const fresh = await reopened(store);
  await device.write(11 * chunk, randomBytes(100));
  const changed = [{ offset: 11 * chunk, length: 100 }];
  const second = await backUp(fresh, device, { changed, parent: first.point });
  assert.deepEqual(second.result.mended, { chunks: 1, pages: 0, bytes: chunk });
  assert.equal(second.result.unmended, undefined);
  assert.ok((await restored(fresh, second.point)).equals(await bytesOf(device)));
  await restored(await reopened(store), first.point);
  const third = await backUp(fresh, device, { changed: [], parent: second.point });
  assert.equal(third.result.figures.read, 0, 'nothing is left to be mended');
});

test('a damaged range whose source has changed stays damaged in the old point only', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const first = await backUp(repository, device);
  const [pack = ''] = await keysOf(store, 'packs/data/');
  await replaceObject(store, pack, gone);
  await assert.rejects(restored(repository, first.point), { code: 'integrity', message: /is missing/ });
  await device.write(0, randomBytes(chunk));
  const second = await backUp(repository, device, { changed: [], parent: first.point });
  assert.ok((await restored(repository, second.point)).equals(await bytesOf(device)));
  assert.ok((second.result.mended?.chunks ?? 0) >= 1);
  assert.deepEqual(second.result.unmended, [{ offset: 0, length: chunk }]);
  await assert.rejects(restored(repository, first.point), { code: 'integrity' });
});

test("damage in the parent's pages is met and mended by the backup itself", async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(130, [1, 2, 129]); // two leaves and a root
  const first = await backUp(repository, device);
  const content = await bytesOf(device);
  const metas = await keysOf(store, 'packs/meta/');
  for (const key of metas) await replaceObject(store, key, gone);
  const fresh = await reopened(store);
  const second = await backUp(fresh, device, { changed: [], parent: first.point });
  assert.deepEqual(second.point.disks[0]?.root, first.point.disks[0]?.root);
  assert.deepEqual(second.result.hidden, [{ offset: 0, length: 130 * chunk }]);
  assert.equal(second.result.mended?.pages, 3);
  for (const { point } of [first, second]) {
    assert.ok((await restored(await reopened(store), point)).equals(content));
  }
});

test('a leaf that does not open is read in full, and nothing else', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(130, [0, 1, 128, 129]);
  const { point: parent } = await backUp(repository, device);
  const [key = ''] = await keysOf(store, 'packs/meta/');
  await replaceObject(store, key, flipped(100)); // in the first leaf to be closed
  const changed = [0, 128].map((at) => ({ offset: at * chunk, length: 512 }));
  const { point, result } = await backUp(await reopened(store), device, { changed, parent });
  assert.equal(result.hidden?.length, 1);
  assert.equal(result.mended?.pages, 1);
  const read = result.figures.read / chunk;
  assert.ok(read >= 2 + 1 && read <= 128 + 2, `${read} chunks were read`);
  assert.ok((await restored(await reopened(store), point)).equals(await bytesOf(device)));
});

test('what was only read wrong once, or is out of reach, is not damage', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point } = await backUp(repository, device);
  const once = new Set<string>();
  const flaky = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation, key, nth }) => {
      if (operation !== 'get' || !key.startsWith('packs/data') || once.has(key)) return undefined;
      once.add(key);
      return nth % 2 === 0 ? 'flipped' : 'torn';
    },
  });
  assert.ok((await restored(await reopened(flaky), point)).equals(await bytesOf(device)));
  assert.ok(once.size > 0);
  const broken = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation, key }) =>
      operation === 'get' && key.startsWith('packs/data') ? 'fail' : undefined,
  });
  await assert.rejects(restored(await reopened(broken), point), { code: 'io', retryable: true });
  let isUnmounted = false;
  const unmounted = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation }) => (isUnmounted && operation !== 'put' ? 'missing' : undefined),
  });
  const open = await reopened(unmounted);
  const disk = await open.openDisk(point, 'disk0');
  isUnmounted = true;
  await assert.rejects(disk.read(0, Buffer.alloc(chunk)), { code: 'io', message: /no repository any more/ });
  await disk.close();
  assert.deepEqual(await keysOf(store, 'damaged/'), []);
});

test('collections keep what is damaged and needed, and free it once it is mended', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(12);
  const { point } = await backUp(repository, device);
  const packs = await keysOf(store, 'packs/data/');
  await replaceObject(store, packs[0] ?? '', flipped(200_000));
  await replaceObject(store, packs[1] ?? '', gone);
  for (let at = 0; at < 12; at += 1) {
    const disk = await repository.openDisk(point, 'disk0');
    await disk.read(at * chunk, Buffer.alloc(chunk)).catch(() => undefined);
    await disk.close();
  }
  const kept = await repository.collect({});
  assert.equal(kept.packsDeleted + kept.packsRewritten, 0);
  assert.match(kept.notes.join(), /2 damaged packs are kept/);
  await backUp(repository, device, { changed: [], parent: point });
  const plan = await repository.collect({ dryRun: true });
  const freed = await repository.collect({});
  assert.deepEqual([plan.packsDeleted, plan.packsRewritten], [freed.packsDeleted, freed.packsRewritten]);
  assert.ok(freed.packsDeleted + freed.packsRewritten >= 2, JSON.stringify(freed));
  assert.deepEqual(await keysOf(store, 'damaged/'), [], 'the lists went with their packs');
  const fresh = await reopened(store);
  for (const one of await fresh.points()) {
    assert.ok((await restored(fresh, one)).equals(await bytesOf(device)));
  }
  assert.deepEqual((await fresh.check({ readData: true })).faults, []);
});

test('while a page cannot be read, a collection frees nothing that lies below it', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point } = await backUp(repository, device);
  const [meta = ''] = await keysOf(store, 'packs/meta/');
  const whole = await store.get(meta);
  await replaceObject(store, meta, flipped(100));
  await assert.rejects(restored(repository, point), { code: 'integrity' });
  const before = await keysOf(store, 'packs/');
  const report = await repository.collect({ maxDeleteShare: 1 });
  assert.match(report.notes.join(), /1 pages cannot be read/);
  assert.deepEqual(await keysOf(store, 'packs/'), before);
  await replaceObject(store, meta, () => whole);
  assert.ok((await restored(await reopened(store), point)).equals(await bytesOf(device)), 'lists are advice');
});

test('a damaged disk can be read around what is lost, pages and chunks alike', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(130, [0, 1, 129]);
  const { point } = await backUp(repository, device);
  const content = await bytesOf(device);
  const [meta = ''] = await keysOf(store, 'packs/meta/');
  await replaceObject(store, meta, flipped(100)); // one of two leaves
  for (const pack of await keysOf(store, 'packs/data/')) await replaceObject(store, pack, gone);
  const open = await reopened(store);
  const lost: Range[] = [];
  const disk = await open.openDisk(point, 'disk0', { onDamage: (range) => void lost.push(range) });
  const read = await bytesOf(disk);
  for await (const { kind, offset, length } of disk.extents({ offset: 0, length: disk.size })) {
    if (kind === 'hole') assert.ok(read.subarray(offset, offset + length).every((byte) => byte === 0));
  }
  await disk.close();
  const ranges = mergeRanges(lost);
  assert.ok(ranges.some(({ length }) => length >= 2 * chunk) && ranges.length >= 2, JSON.stringify(lost));
  for (const { offset, length } of ranges) content.fill(0, offset, offset + length);
  assert.ok(read.equals(content), 'all that is not named is right');
  await assert.rejects(restored(open, point), { code: 'integrity', message: /is damaged at \d+\+\d+/ });
});

test('a chunk that cannot be read while pages are still awaited is the error of the read, and of nothing else', async () => {
  const { store, repository } = await newLab();
  const { point } = await backUp(repository, await randomDisk(130, [127, 128]));
  for (const pack of await keysOf(store, 'packs/data/')) await replaceObject(store, pack, gone);
  const isUp = Promise.withResolvers<void>();
  let metaReads = 0;
  const slow: ObjectStore = {
    url: store.url,
    putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options),
    stat: (key, options) => store.stat(key, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (key, options) => store.delete(key, options),
    close: () => store.close(),
    get: async (key, range, options) => {
      if (key.startsWith('packs/meta/') && (metaReads += 1) === 3) await isUp.promise; // the second leaf
      return await store.get(key, range, options);
    },
  };
  const open = await reopened(slow);
  const disk = await open.openDisk(point, 'disk0');
  const unhandled: unknown[] = [];
  const onUnhandled = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', onUnhandled);
  const reading = disk.read(127 * chunk, Buffer.alloc(2 * chunk));
  for (let turns = 0; turns < 1000; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  isUp.resolve();
  await assert.rejects(reading, { code: 'integrity' });
  process.off('unhandledRejection', onUnhandled);
  assert.ok(metaReads >= 3);
  assert.deepEqual(unhandled, []);
  await disk.close();
});
