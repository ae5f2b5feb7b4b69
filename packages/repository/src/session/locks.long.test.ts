import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, KiB, MiB, systemClock } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { memoryStore, type ObjectStore } from '@prima/storage';
import type { Repository } from '../contract.ts';
import type { Point } from '../point.ts';
import { type CreateOptions, createRepository, openRepository } from '../repository.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const day = 86_400_000;
const start = Date.UTC(2026, 2, 1);

/** A clock that stands until it is set. */
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

async function fresh(options: Partial<CreateOptions> = {}) {
  const [clock, storeClock] = [new SetClock(), new SetClock()];
  const store = memoryStore({ clock: storeClock });
  const shared = { chunkSize: 256 * KiB, workers: 1, packBytes: MiB };
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const repository = await createRepository(store, { secret, ...shared, kdfCost, clock, ...options });
  const openWith = async (other: Clock) => await openRepository(store, secret, { ...shared, clock: other });
  return { clock, storeClock, store, repository, openWith };
}

async function backup(repository: Repository, content: string, lockedUntil?: number): Promise<Point> {
  const device = memoryDevice(MiB);
  await device.write(5000, Buffer.from(content));
  const session = await repository.beginBackup();
  const disk = await session.writeDisk({ name: 'disk0', device });
  const time = new Date(start).toISOString();
  return await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: 'all', ...disk }],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
    ...(lockedUntil !== undefined && { lockedUntil: new Date(lockedUntil).toISOString() }),
  });
}

async function contentOf(repository: Repository, point: Point): Promise<string> {
  const device = await repository.openDisk(point, 'disk0');
  const bytes = Buffer.alloc(7);
  await device.read(5000, bytes);
  await device.close();
  return bytes.toString();
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

const idsOf = async (repository: Repository) => (await repository.points()).map(({ id }) => id);
const collectAll = (repository: Repository) => repository.collect({ maxDeleteShare: 1, waitMs: 0 });

test('a locked point is not forgotten before its time, then it is, and collected', async () => {
  const { clock, storeClock, store, repository } = await fresh();
  const point = await backup(repository, 'content', start + 30 * day);
  assert.equal(point.lockedUntil, '2026-03-31T00:00:00.000Z');
  await assert.rejects(repository.forget(point), {
    code: 'refused',
    message: /is locked until 2026-03-31T00:00:00\.000Z; nobody can forget it before/,
  });
  clock.time = storeClock.time = start + 30 * day;
  await repository.forget(point);
  assert.deepEqual(await idsOf(repository), []);
  await collectAll(repository);
  assert.deepEqual(await keysOf(store, `sessions/${point.id}`), []);
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
});

test('a lock is extended and never shortened', async () => {
  const { clock, store, repository } = await fresh();
  const point = await backup(repository, 'content');
  assert.equal(point.lockedUntil, undefined);
  const locked = await repository.lock(point, start + 10 * day);
  assert.equal(locked.lockedUntil, '2026-03-11T00:00:00.000Z');
  assert.equal((await repository.lock(point, start + 5 * day)).lockedUntil, locked.lockedUntil);
  await repository.lock(point, start + 20 * day);
  assert.equal((await keysOf(store, `sessions/${point.id}/locked-`)).length, 2);
  assert.equal((await repository.points())[0]?.lockedUntil, '2026-03-21T00:00:00.000Z');
  clock.time = start + 11 * day;
  await assert.rejects(repository.forget(point), { code: 'refused' });
  await assert.rejects(repository.lock(point, start + day), { code: 'usage' });
  await assert.rejects(repository.lock(point, Number.NaN), { code: 'usage' });
  await assert.rejects(repository.lock(point, start + 200 * 366 * day), { code: 'usage' });
});

test('a repository may lock all its points; who wants more gets more', async () => {
  const { repository, openWith, clock } = await fresh({ lockMs: 14 * day });
  const again = await openWith(clock);
  assert.equal((await backup(again, 'a')).lockedUntil, '2026-03-15T00:00:00.000Z');
  assert.equal((await backup(again, 'b', start + day)).lockedUntil, '2026-03-15T00:00:00.000Z');
  assert.equal((await backup(repository, 'c', start + 30 * day)).lockedUntil, '2026-03-31T00:00:00.000Z');
  await assert.rejects(fresh({ lockMs: 0 }), { code: 'usage' });
  await assert.rejects(fresh({ lockMs: 4000 * day }), { code: 'usage' });
});

test('a mark of forgetting counts for nothing while the lock lasts, whoever wrote it', async () => {
  const { clock, storeClock, repository, openWith } = await fresh();
  const other = new SetClock();
  other.time = start + 365 * day;
  const hasty = await openWith(other);
  const point = await backup(repository, 'content', start + 30 * day);
  await hasty.forget(point); // its clock is a year ahead
  assert.deepEqual(await idsOf(repository), [point.id]);
  assert.equal(await contentOf(repository, point), 'content');
  await collectAll(repository);
  await collectAll(hasty); // the store's clock is right
  assert.equal(await contentOf(repository, point), 'content');
  storeClock.time = start + 365 * day;
  await collectAll(repository); // the store's clock is wrong, ours is right
  assert.equal(await contentOf(repository, point), 'content');
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
  storeClock.time = start;
  const locked = await repository.lock(point, start + 60 * day);
  assert.equal(locked.lockedUntil, '2026-04-30T00:00:00.000Z');
  clock.time = start + 60 * day;
  assert.deepEqual(await idsOf(repository), []);
  await collectAll(repository);
  await assert.rejects(repository.openDisk(point, 'disk0'), { code: 'not-found' });
});

test('a point that is forgotten cannot be locked any more', async () => {
  const { repository } = await fresh();
  const point = await backup(repository, 'content');
  await repository.forget(point);
  await repository.forget(point);
  await assert.rejects(repository.lock(point, start + day), { code: 'not-found' });
  await collectAll(repository);
  await assert.rejects(repository.lock(point, start + day), { code: 'not-found' });
});

test('who locks what is being forgotten learns that it is too late', async () => {
  const { store, openWith, repository, clock } = await fresh();
  const point = await backup(repository, 'content');
  const late = await openWith(clock);
  const put = store.putIfAbsent.bind(store);
  store.putIfAbsent = async (key, body, options) => {
    if (key.includes('/locked-')) await repository.forget(point);
    return await put(key, body, options);
  };
  await assert.rejects(late.lock(point, start + day), { code: 'not-found' });
  store.putIfAbsent = put;
  assert.deepEqual(await keysOf(store, `sessions/${point.id}/locked-`), []);
});

test('who locks with a clock that is behind learns that the lock before has run out for others', async () => {
  const { clock, storeClock, store, repository, openWith } = await fresh();
  const point = await backup(repository, 'content', start + 10 * day);
  const slow = new SetClock();
  const late = await openWith(slow);
  clock.time = storeClock.time = start + 20 * day;
  await repository.forget(point);
  // a collection may have seen it forgotten by now
  await assert.rejects(late.lock(point, start + 60 * day), { code: 'not-found' });
  const until = String(start + 60 * day);
  assert.ok(!(await keysOf(store, `sessions/${point.id}/locked-`)).some((key) => key.endsWith(until)));
});
