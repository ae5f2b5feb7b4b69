import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Clock,
  KiB,
  MiB,
  PrimaError,
  type Range,
  StorageError,
  seededRandom,
  systemClock,
} from '@prima/base';
import { memoryDevice, type WritableDevice } from '@prima/block';
import { filterStore, memoryStore, type ObjectStore } from '@prima/storage';
import type { Repository } from '../contract.ts';
import type { Point } from '../point.ts';
import { createRepository, openRepository } from '../repository.ts';
import { periodEnd } from './retaining.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const shared = { chunkSize: 256 * KiB, workers: 1, packBytes: MiB };
const hour = 3_600_000;
const day = 24 * hour;
const start = Date.UTC(2026, 2, 1);
const random = seededRandom(77_001);

class SetClock implements Clock {
  time = start;
  now(): number {
    return this.time;
  }
  monotonic(): number {
    return systemClock.monotonic();
  }
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    await systemClock.sleep(Math.min(ms, 1), signal);
  }
}

interface World {
  clock: SetClock;
  store: ObjectStore;
  repository: Repository;
  /** Keys that the store was asked to keep since this was emptied. */
  asked: string[];
}

async function world(): Promise<World> {
  const clock = new SetClock();
  const inner = memoryStore({ retention: true, clock });
  const asked: string[] = [];
  const store = filterStore(inner, {
    retain: async (key, until, options) => {
      asked.push(key);
      await inner.retention?.retain(key, until, options);
    },
  });
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const repository = await createRepository(store, { secret, ...shared, kdfCost, clock });
  return { clock, store, repository, asked };
}

interface BackupOptions {
  lockMs?: number;
  parent?: Point;
  changed?: Range[];
}

async function backup(
  { clock, repository }: Pick<World, 'clock' | 'repository'>,
  device: WritableDevice,
  options: BackupOptions = {},
) {
  const { lockMs, parent, changed } = options;
  const session = await repository.beginBackup();
  const root = parent?.disks[0]?.root;
  const disk = await session.writeDisk({
    name: 'disk0',
    device,
    ...(parent && root && { parent: { point: parent.id, root }, changed }),
  });
  const time = new Date(clock.now()).toISOString();
  return await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: 'all', ...disk }],
    skipped: [],
    files: [await session.writeFile('m.vmx', Buffer.from(`made ${time}`))],
    tags: [],
    notes: [],
    warnings: [],
    ...(lockMs !== undefined && { lockedUntil: new Date(clock.now() + lockMs).toISOString() }),
  });
}

async function contentOf(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  await device.close();
  await repository.readFile(point, 'm.vmx');
  return bytes;
}

async function bytesOf(device: WritableDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

async function scribble(device: WritableDevice, range: Range): Promise<Range> {
  await device.write(range.offset, random.bytes(new Uint8Array(range.length)));
  return range;
}

async function keysOf(store: ObjectStore, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** The same objects, kept for as long, for an attack that the original does not see. */
async function cloneOf({ store, clock }: World): Promise<ObjectStore> {
  const clone = memoryStore({ retention: true, clock });
  for (const key of await keysOf(store)) {
    await clone.putIfAbsent(key, await store.get(key));
    const until = await store.retention?.retainedUntil(key);
    if (until !== undefined) await clone.retention?.retain(key, until);
  }
  return clone;
}

/** Somebody with all rights but that to break a lock deletes whatever can be deleted. */
async function deleteAll(store: ObjectStore): Promise<void> {
  for (const key of await keysOf(store)) {
    await store.delete(key).catch((error: unknown) => {
      assert.ok(error instanceof PrimaError && error.code === 'refused', String(error));
    });
  }
}

const reopened = ({ store, clock }: World) => openRepository(store, secret, { ...shared, clock });

test('who deletes whatever can be deleted cannot take a locked point away', async () => {
  const w = await world();
  const device = memoryDevice(80 * MiB); // more than one leaf
  await scribble(device, { offset: 0, length: 3 * MiB });
  await scribble(device, { offset: 60 * MiB, length: MiB });
  const first = await backup(w, device, { lockMs: 30 * day });
  const firstBytes = await bytesOf(device);
  w.clock.time += hour;
  const changed = [await scribble(device, { offset: 61 * MiB, length: 10_000 })];
  const second = await backup(w, device, { lockMs: 30 * day, parent: first, changed });
  const secondBytes = await bytesOf(device);
  const other = memoryDevice(4 * MiB);
  await scribble(other, { offset: 0, length: 4 * MiB });
  await backup(w, other);
  await deleteAll(w.store);
  const again = await reopened(w);
  const points = await again.points();
  assert.deepEqual(
    points.map(({ id }) => id),
    [first.id, second.id],
  );
  assert.ok((await contentOf(again, first)).equals(firstBytes));
  assert.ok((await contentOf(again, second)).equals(secondBytes));
});

test('a collection leaves what is kept, and what it writes is kept for the locked points too', async () => {
  const w = await world();
  const device = memoryDevice(8 * MiB);
  await scribble(device, { offset: 0, length: 4 * MiB });
  const forgotten = await backup(w, device);
  const doomed = await backup(w, device, { lockMs: 2 * day + 1 }); // its packs are those of the first
  await scribble(device, { offset: 0, length: 3 * MiB });
  const locked = await backup(w, device, { lockMs: 60 * day });
  const bytes = await bytesOf(device);
  await w.repository.forget(forgotten);
  const report = await w.repository.collect({ maxDeleteShare: 1 });
  assert.deepEqual([report.packsDeleted, report.packsRewritten, report.sessionsRemoved], [0, 0, 0]);
  w.clock.time += 2 * day + 1;
  await w.repository.forget(doomed);
  const early = await w.repository.collect({ maxDeleteShare: 1 });
  assert.match(early.notes.join(), /cannot be freed yet: the store keeps them, the last until 2026-/);
  const foretold = await w.repository.collect({ maxDeleteShare: 1, dryRun: true });
  assert.match(foretold.notes.join(), /cannot be freed yet/);
  const survives = async () => {
    const store = await cloneOf(w);
    await deleteAll(store);
    assert.ok((await contentOf(await reopened({ ...w, store }), locked)).equals(bytes));
  };
  await survives();
  w.clock.time += 3 * day;
  const again = await reopened(w);
  const late = await again.collect({ maxDeleteShare: 1 });
  assert.ok(
    late.packsDeleted + late.packsRewritten > 0,
    'what was kept for the sake of the forgotten one is freed',
  );
  await survives();
  w.clock.time += 120 * day;
  await again.forget(locked);
  await again.collect({ maxDeleteShare: 1 });
  await again.collect({ maxDeleteShare: 1 });
  assert.deepEqual(await keysOf(w.store, 'packs/'), []);
  assert.deepEqual((await again.check({ readData: true })).faults, []);
});

test('what a locked point shares with one that is not locked cannot be taken away either', async () => {
  const w = await world();
  const device = memoryDevice(4 * MiB);
  await scribble(device, { offset: 0, length: 2 * MiB });
  await backup(w, device);
  const locked = await backup(w, device, { lockMs: day });
  await deleteAll(w.store);
  assert.ok((await contentOf(await reopened(w), locked)).equals(await bytesOf(device)));
});

test('what mends a locked point is kept for as long as the point, whether its backup is locked or not', async () => {
  const w = await world();
  const device = memoryDevice(4 * MiB);
  await scribble(device, { offset: 0, length: 2 * MiB });
  const locked = await backup(w, device, { lockMs: 40 * day });
  const [pack = ''] = await keysOf(w.store, 'packs/data/');
  const damaged = (store: ObjectStore) =>
    filterStore(store, {
      get: async (key, range, options) => {
        const bytes = await store.get(key, range, options);
        return key === pack ? bytes.map((byte) => byte ^ 1) : bytes;
      },
    });
  const repository = await reopened({ ...w, store: damaged(w.store) });
  await assert.rejects(contentOf(repository, locked), { code: 'integrity' });
  await backup({ ...w, repository }, device);
  const store = await cloneOf(w);
  await deleteAll(store);
  const again = await reopened({ ...w, store: damaged(store) });
  assert.ok((await contentOf(again, locked)).equals(await bytesOf(device)));
});

test('a collection that ends while a backup locks what it needs neither stops it nor leaves anything unkept', async () => {
  const w = await world();
  const device = memoryDevice(80 * MiB); // more than one leaf
  await scribble(device, { offset: 0, length: 2 * MiB });
  await scribble(device, { offset: 32 * MiB, length: 32 * MiB }); // a leaf that is worth freeing
  const first = await backup(w, device);
  const changes = async () => [await scribble(device, { offset: 60 * MiB, length: MiB })];
  const parent = await backup(w, device, { parent: first, changed: await changes() });
  await w.repository.forget(first); // what only its leaf holds dies, the other leaf is to be copied
  const arrived = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const collecting = filterStore(w.store, {
    putIfAbsent: async (key, body, options) => {
      if (key.endsWith('/outcome')) {
        arrived.resolve();
        await gate.promise;
      }
      return await w.store.putIfAbsent(key, body, options);
    },
  });
  const collection = (await reopened({ ...w, store: collecting })).collect({ maxDeleteShare: 1 });
  await Promise.race([arrived.promise, collection]);
  let hasSegment = false;
  let isLocking = false;
  const locking = filterStore(w.store, {
    putIfAbsent: async (key, body, options) => {
      hasSegment ||= key.startsWith('index/');
      return await w.store.putIfAbsent(key, body, options);
    },
    get: async (key, range, options) => {
      // the first page that the walk over the new point reads
      if (!isLocking && key.startsWith('packs/meta/') && hasSegment) {
        isLocking = true;
        gate.resolve();
        assert.ok((await collection).packsRewritten > 0);
      }
      return await w.store.get(key, range, options);
    },
  });
  const repository = await reopened({ ...w, store: locking });
  const point = await backup({ ...w, repository }, device, { lockMs: day, parent, changed: await changes() });
  assert.ok(isLocking);
  const store = await cloneOf(w);
  await deleteAll(store);
  assert.ok((await contentOf(await reopened({ ...w, store }), point)).equals(await bytesOf(device)));
});

test('the lock of the next point asks for what is new, until the period ends', async () => {
  const w = await world();
  const device = memoryDevice(80 * MiB);
  await scribble(device, { offset: 0, length: 12 * MiB });
  const first = await backup(w, device, { lockMs: 40 * day });
  const packs = () => w.asked.splice(0).filter((key) => key.startsWith('packs/')).length;
  assert.ok(packs() >= 12);
  w.clock.time += hour;
  const changed = [await scribble(device, { offset: 5 * MiB, length: 100 })];
  const second = await backup(w, device, { lockMs: 40 * day, parent: first, changed });
  assert.equal(second.retainedUntil, first.retainedUntil);
  assert.equal(packs(), 2, 'a pack of data and one of pages');
  w.clock.time += 10 * day;
  const third = await backup(w, device, { lockMs: 40 * day, parent: second, changed: [] });
  assert.ok((third.retainedUntil ?? '') > (second.retainedUntil ?? ''));
  assert.ok(packs() >= 13);
});

test('a lock that is extended later is kept by the store from then on', async () => {
  const w = await world();
  const device = memoryDevice(4 * MiB);
  await scribble(device, { offset: 0, length: 2 * MiB });
  const point = await backup(w, device, { lockMs: day });
  await w.repository.lock(point, start + 200 * day);
  w.clock.time += 199 * day;
  await deleteAll(w.store);
  const again = await reopened(w);
  assert.equal((await again.points())[0]?.lockedUntil, new Date(start + 200 * day).toISOString());
  assert.ok((await contentOf(again, point)).equals(await bytesOf(device)));
  w.asked.length = 0;
  await again.lock(point, start + 200 * day);
  assert.ok(
    w.asked.some((key) => key.startsWith('packs/')),
    'to repeat a lock asks the store again',
  );
});

test('periods are a quarter of the lock, 10 days at most, an hour at least', () => {
  for (const [lock, period] of [
    [60 * day, 10 * day],
    [40 * day, 10 * day],
    [4 * day, day],
    [hour, hour],
    [60_000, hour],
  ] as const) {
    const end = periodEnd(start + lock, start);
    assert.equal(end % period, 0);
    assert.ok(end >= start + lock && end < start + lock + period, `${lock}`);
  }
});

test('credentials that cannot delete are enough for backups, restores and locks', async () => {
  const clock = new SetClock();
  const store = memoryStore({ clock });
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const full = await createRepository(store, { secret, ...shared, kdfCost, clock });
  let refused = 0;
  const appendOnly = filterStore(store, {
    delete: async (key) => {
      refused += 1;
      throw new StorageError('permission', `deleting ${key}: access denied`);
    },
  });
  const repository = await openRepository(appendOnly, secret, { ...shared, clock });
  const device = memoryDevice(40 * MiB);
  await scribble(device, { offset: 0, length: 2 * MiB });
  const first = await backup({ clock, repository }, device);
  clock.time += hour;
  const changed = [await scribble(device, { offset: 30 * MiB, length: 100 })];
  const second = await backup({ clock, repository }, device, { parent: first, changed });
  assert.ok((await contentOf(repository, second)).equals(await bytesOf(device)));
  await repository.lock(second, clock.time + day);
  const given = await repository.beginBackup();
  await given.writeDisk({ name: 'disk0', device: memoryDevice(MiB) });
  await given.abort('changed my mind');
  assert.ok(refused > 0);
  assert.equal((await repository.points()).length, 2);
  clock.time += 3 * day; // the traces of the reader are old enough
  await full.collect({ maxDeleteShare: 1 });
  const report = await full.check({ readData: true });
  assert.deepEqual([report.faults, report.leftovers], [[], []]);
});
