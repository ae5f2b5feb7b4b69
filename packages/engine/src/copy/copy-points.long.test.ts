import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { KiB, MiB, PrimaError, type Range, seededRandom } from '@prima/base';
import { type BlockDevice, compareDevices, memoryDevice, type WritableDevice } from '@prima/block';
import { createRepository, type Point, type Repository } from '@prima/repository';
import { memoryStore, type ObjectStore } from '@prima/storage';
import { acquireLock } from '../lock.ts';
import { fakeRepository } from '../fake-repository-fixture.ts';
import { type CopyOptions, copyPoints, type PointCopy } from './copy-points.ts';

const random = seededRandom(20_260_305);

interface Place {
  store: ObjectStore;
  repository: Repository;
}

async function place(t: TestContext, chunkSize = 256 * KiB): Promise<Place> {
  const store = memoryStore();
  const repository = await createRepository(store, {
    secret: { kind: 'passphrase', text: `secret ${chunkSize}` },
    chunkSize,
    workers: 1,
    packBytes: MiB,
    kdfCost: { memoryKiB: 8192, passes: 1, lanes: 1 },
  });
  t.after(() => repository.close());
  return { store, repository };
}

async function lockFolder(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-copy-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

async function fill(device: WritableDevice, ranges: readonly Range[]): Promise<void> {
  for (const { offset, length } of ranges) await device.write(offset, random.bytes(new Uint8Array(length)));
}

/** A point of machine `m` on day `day`, with a disk, a memory and a file, as a full backup makes it. */
async function backup(repository: Repository, device: BlockDevice, day: number, machine = 'm') {
  const session = await repository.beginBackup();
  const disk = await session.writeDisk({ name: 'disk0', device });
  const memory = memoryDevice(MiB);
  await memory.write(4096, Buffer.from(`memory of day ${day}`));
  const written = await session.writeDisk({ name: 'memory', device: memory });
  const time = new Date(Date.UTC(2026, 2, day)).toISOString();
  return await session.commit({
    machine: { id: machine, name: `name of ${machine}`, host: 'lab' },
    time,
    started: time,
    finished: time,
    mode: 'warm',
    quiesced: true,
    disks: [{ name: 'disk0', slot: 'scsi0:0', size: device.size, changed: 'all', ...disk }],
    memory: { name: 'memory', size: memory.size, changed: 'all', ...written },
    skipped: [{ name: 'data1', why: 'left out' }],
    files: [await session.writeFile('m.vmx', Buffer.from(`day = ${day}\n`))],
    tags: ['nightly'],
    name: `day ${day}`,
    notes: ['a note'],
    warnings: ['a warning'],
    checkpoint: { platform: 'qemu', bitmap: `b${day}` },
    pausedMs: 12,
  });
}

async function sameDisks(from: Repository, point: Point, to: Repository, copy: Point): Promise<void> {
  for (const name of ['disk0', 'memory']) {
    const [a, b] = [await from.openDisk(point, name), await to.openDisk(copy, name)];
    assert.deepEqual((await compareDevices(a, b)).differences, [], name);
    await Promise.all([a.close(), b.close()]);
  }
  const [ours, theirs] = [await from.readFile(point, 'm.vmx'), await to.readFile(copy, 'm.vmx')];
  assert.deepEqual(Buffer.from(theirs), Buffer.from(ours));
}

async function keysOf({ store }: Place): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys;
}

/** A point without what belongs to the repository that it lies in. */
function forPeople(point: Point): Partial<Point> {
  const own = ['id', 'disks', 'memory', 'files', 'parent', 'checkpoint', 'origin'];
  return Object.fromEntries(Object.entries(point).filter(([name]) => !own.includes(name)));
}

const states = (copies: readonly PointCopy[]) => copies.map(({ state }) => state);
const diskOf = (copy: PointCopy | undefined) => copy?.copy?.disks[0];

async function copier(t: TestContext): Promise<Copier> {
  const folder = await lockFolder(t);
  return async (from, to, options = {}) =>
    copyPoints(from, to, { points: await from.points(), lockFolder: folder, ...options });
}
type Copier = (from: Repository, to: Repository, options?: Partial<CopyOptions>) => Promise<PointCopy[]>;

for (const [from, to] of [
  [256 * KiB, MiB],
  [MiB, 256 * KiB],
] as const) {
  test(`points go from chunks of ${from} to chunks of ${to}; the second reads what differs`, async (t) => {
    const copy = await copier(t);
    const [source, target] = [await place(t, from), await place(t, to)];
    const device = memoryDevice(40 * MiB + 512);
    await fill(device, [
      { offset: 5000, length: 6 * MiB },
      { offset: 40 * MiB, length: 512 },
    ]);
    const first = await backup(source.repository, device, 1);
    await fill(device, [{ offset: 20 * MiB + 100, length: 2000 }]);
    await device.zero({ offset: 2 * MiB, length: 2 * MiB });
    const second = await backup(source.repository, device, 2);
    const copies = await copy(source.repository, target.repository, {
      points: [second, first],
      verify: true,
    });
    assert.deepEqual(states(copies), ['copied', 'copied']);
    assert.ok(copies.every(({ verified }) => verified));
    const [one, two] = await target.repository.points();
    assert.ok(one && two);
    await sameDisks(source.repository, first, target.repository, one);
    await sameDisks(source.repository, second, target.repository, two);
    const read = diskOf(copies[1])?.figures.read ?? 0;
    assert.ok(read > 0 && read <= 2 * Math.max(from, to), `${read}`);
    assert.equal(diskOf(copies[1])?.changed, 'tracked');
    assert.equal(two.parent, one.id);
    assert.deepEqual(two.origin, { repository: source.repository.id, point: second.id });
    assert.ok(second.checkpoint);
    assert.equal(two.checkpoint, undefined, 'a backup into the target must not build on it');
    assert.deepEqual(forPeople(two), forPeople(second));
    assert.deepEqual((await target.repository.check({ readData: true })).faults, []);
  });
}

test('what was copied is not copied again, back and forth; a copy of a copy names the first', async (t) => {
  const copy = await copier(t);
  const [a, b, c] = [await place(t), await place(t, MiB), await place(t)];
  const device = memoryDevice(4 * MiB);
  await fill(device, [{ offset: 0, length: MiB }]);
  const point = await backup(a.repository, device, 1);
  await copy(a.repository, b.repository);
  const before = await keysOf(b);
  const packs = (keys: string[]) => keys.filter((key) => !key.startsWith('sessions/'));
  assert.deepEqual(states(await copy(a.repository, b.repository)), ['present']);
  assert.deepEqual(packs(await keysOf(b)), packs(before));
  assert.deepEqual(states(await copy(b.repository, c.repository)), ['copied']);
  const [third] = await c.repository.points();
  assert.deepEqual(third?.origin, { repository: a.repository.id, point: point.id });
  assert.deepEqual(states(await copy(c.repository, a.repository)), ['present']);
  assert.equal((await a.repository.points()).length, 1);
  // a point made elsewhere is based on what it is a copy of at home
  await fill(device, [{ offset: 3 * MiB, length: 100 }]);
  await backup(c.repository, device, 2);
  const [, back] = await copy(c.repository, a.repository);
  assert.equal(back?.state, 'copied');
  assert.equal(diskOf(back)?.figures.read, 256 * KiB);
  assert.equal(back?.copy?.parent, point.id);
});

test('a damaged chunk fails its point, by name; the others are copied', async (t) => {
  const copy = await copier(t);
  const [source, target] = [await place(t), await place(t, MiB)];
  const device = memoryDevice(8 * MiB);
  await fill(device, [{ offset: 0, length: 2 * MiB }]);
  const good = await backup(source.repository, device, 1, 'good');
  const known = new Set(await keysOf(source));
  await fill(device, [{ offset: 4 * MiB, length: 256 * KiB }]);
  const bad = await backup(source.repository, device, 2, 'bad');
  const [data] = (await keysOf(source)).filter((key) => key.startsWith('packs/data/') && !known.has(key));
  assert.ok(data);
  const bytes = await source.store.get(data);
  bytes[1000] = (bytes[1000] ?? 0) ^ 1;
  await source.store.delete(data);
  await source.store.putIfAbsent(data, bytes);
  const last = await backup(source.repository, memoryDevice(MiB), 3, 'last');
  const copies = await copy(source.repository, target.repository);
  assert.deepEqual(
    copies.map(({ point, state }) => [point.id, state]),
    [
      [good.id, 'copied'],
      [bad.id, 'failed'],
      [last.id, 'copied'],
    ],
  );
  assert.equal(copies[1]?.error?.code, 'integrity');
  assert.match(copies[1].error.message, /disk0 of point [0-9a-f]{32} is damaged at 4194304\+262144/);
  assert.equal((await target.repository.points()).length, 2);
  assert.deepEqual((await target.repository.check({ readData: true })).faults, []);
});

test('a lock stays behind; a copy has its own', async (t) => {
  const copy = await copier(t);
  const [source, target, locking] = [await place(t), await place(t), await place(t)];
  const point = await backup(source.repository, memoryDevice(MiB), 1);
  await source.repository.lock(point, Date.now() + 86_400_000);
  const [unlocked] = await copy(source.repository, target.repository);
  assert.equal(unlocked?.copy?.lockedUntil, undefined);
  const [locked] = await copy(source.repository, locking.repository, { lockMs: 3_600_000 });
  assert.ok(locked?.copy);
  await assert.rejects(locking.repository.forget(locked.copy), { code: 'refused' });
});

test('what is damaged in the source by now is not needed where the target has it', async (t) => {
  const copy = await copier(t);
  const [source, target] = [await place(t), await place(t, MiB)];
  const device = memoryDevice(8 * MiB);
  await fill(device, [{ offset: 0, length: 2 * MiB }]);
  await backup(source.repository, device, 1);
  await copy(source.repository, target.repository);
  const data = (await keysOf(source)).filter((key) => key.startsWith('packs/data/'));
  await fill(device, [{ offset: 4 * MiB, length: 256 * KiB }]);
  await backup(source.repository, device, 2);
  for (const key of data) await source.store.delete(key);
  const copies = await copy(source.repository, target.repository);
  assert.deepEqual(states(copies), ['present', 'copied']);
});

test('a dry run says how much would be read, and writes nothing', async (t) => {
  const copy = await copier(t);
  const [source, target] = [await place(t), await place(t)];
  const device = memoryDevice(8 * MiB);
  await fill(device, [{ offset: 0, length: 2 * MiB }]);
  await backup(source.repository, device, 1);
  await fill(device, [{ offset: 4 * MiB, length: 100 }]);
  await backup(source.repository, device, 2);
  const before = await keysOf(target);
  const plan = await copy(source.repository, target.repository, { dryRun: true });
  assert.deepEqual(states(plan), ['planned', 'planned']);
  assert.deepEqual(await keysOf(target), before);
  const copies = await copy(source.repository, target.repository);
  assert.deepEqual(
    plan.map(({ bytes }) => bytes),
    copies.map(({ bytes }) => bytes),
  );
});

test('a repository is not copied into itself, nor by two at once', async (t) => {
  const folder = await lockFolder(t);
  const [source, target] = [await place(t), await place(t)];
  const options = { points: [], lockFolder: folder };
  await assert.rejects(copyPoints(source.repository, source.repository, options), { code: 'usage' });
  await using _lock = await acquireLock(join(folder, `copy-${target.repository.id}.lock`), 'copying');
  await assert.rejects(copyPoints(source.repository, target.repository, options), { code: 'busy' });
});

test('a point that could not be committed is copied by the next run; a wrong copy is told', async (t) => {
  const copy = await copier(t);
  const source = await place(t);
  const target = fakeRepository();
  const device = memoryDevice(MiB);
  await fill(device, [{ offset: 0, length: 10_000 }]);
  const point = await backup(source.repository, device, 1);
  target.faults.set('commit', new PrimaError('no-space', 'no room'));
  const [failed] = await copy(source.repository, target);
  assert.equal(failed?.error?.code, 'no-space');
  assert.equal(target.log.at(-1), 'abort: no room');
  target.faults.clear();
  const [copied] = await copy(source.repository, target, { verify: true });
  assert.deepEqual([copied?.state, copied?.verified], ['copied', true]);
  await target.disks.get(diskOf(copied)?.root.id ?? '')?.write(5000, Buffer.from('x'));
  const [wrong] = await copy(source.repository, target, { verify: true });
  assert.deepEqual([wrong?.state, wrong?.error?.code], ['failed', 'verify-failed']);
  assert.match(wrong?.error?.message ?? '', new RegExp(`${point.id.slice(0, 12)} on disk0 at 4608\\+512`));
});

test('a cancelled copy leaves what it finished and nothing of the rest', async (t) => {
  const copy = await copier(t);
  const [source, target] = [await place(t), await place(t)];
  const device = memoryDevice(4 * MiB);
  for (const day of [1, 2, 3]) {
    await fill(device, [{ offset: 0, length: MiB }]);
    await backup(source.repository, device, day);
  }
  const stop = new AbortController();
  let seen = 0;
  const copying = copy(source.repository, target.repository, {
    signal: stop.signal,
    onProgress: (subject, { done, total }) => {
      if (!subject.endsWith('disk0') || done !== total) return;
      seen += 1;
      if (seen === 2) stop.abort(new PrimaError('cancelled', 'cancelled'));
    },
  });
  await assert.rejects(copying, { code: 'cancelled' });
  assert.equal((await target.repository.points()).length, 1);
  assert.deepEqual(states(await copy(source.repository, target.repository)), ['present', 'copied', 'copied']);
});
