import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { type Clock, KiB, MiB, seededRandom, systemClock } from '@prima/base';
import { type BlockDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { faultyStore, memoryStore, type ObjectStore } from '@prima/storage';
import type { Repository, Secret, WriteSession } from '../contract.ts';
import type { Point } from '../point.ts';
import { createRepository, openRepository } from '../repository.ts';

const secret: Secret = { kind: 'passphrase', text: 'interrupted' };
const options = { workers: 1, packBytes: MiB, checkpointBytes: 4 * MiB };

async function create(store: ObjectStore): Promise<Repository> {
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  return await createRepository(store, { secret, chunkSize: 256 * KiB, kdfCost, ...options });
}

async function randomDisk(size: number): Promise<WritableDevice> {
  const device = memoryDevice(size);
  await device.write(0, randomBytes(size));
  return device;
}

async function commit(session: WriteSession, device: BlockDevice): Promise<Point> {
  const result = await session.writeDisk({ name: 'disk0', device });
  const time = new Date().toISOString();
  return await session.commit({
    machine: { id: 'm1', name: 'm1' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: 'all', ...result }],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
  });
}

async function content(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}

async function restored(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    return await content(device);
  } finally {
    await device.close();
  }
}

async function keysOf(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** Reads most of the disk and then fails, as a source that goes away does. */
function breaking(device: BlockDevice, from: number): BlockDevice {
  return {
    size: device.size,
    blockSize: device.blockSize,
    extents: (range, extentOptions) => device.extents(range, extentOptions),
    read: async (offset, into, signal) => {
      if (offset + into.length > from) throw new Error('the source went away');
      await device.read(offset, into, signal);
    },
    close: () => device.close(),
  };
}

async function interrupted(repository: Repository, device: BlockDevice, from: number): Promise<void> {
  const session = await repository.beginBackup({ machine: 'm1' });
  await assert.rejects(session.writeDisk({ name: 'disk0', device: breaking(device, from) }));
  await session.abort('the source went away');
}

async function sound(repository: Repository): Promise<void> {
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
}

test('an interrupted backup goes on where it was, and leaves nothing once it has succeeded', async () => {
  const store = memoryStore();
  const repository = await create(store);
  const device = await randomDisk(24 * MiB);
  await interrupted(repository, device, 20 * MiB);
  assert.equal((await repository.points()).length, 0);
  await sound(repository);
  const kept = (await keysOf(store, 'packs/data/')).length;
  assert.ok(kept >= 12, `${kept} packs are kept`);

  // a collection leaves them alone, and says what they are
  const { notes, packsDeleted } = await repository.collect({});
  assert.match(notes.join(), /interrupted/);
  assert.equal(packsDeleted, 0);
  await sound(repository);

  const again = await openRepository(store, secret, options);
  const session = await again.beginBackup({ machine: 'm1' });
  const point = await commit(session, device);
  const { added } = point.disks[0]?.figures ?? { added: Number.NaN };
  assert.ok(added < 12 * MiB, `only ${added} bytes were new`);
  assert.ok((await restored(again, point)).equals(await content(device)));
  await sound(again);

  const after = await again.collect({ maxDeleteShare: 1 });
  assert.deepEqual(after.notes, []);
  const sessions = new Set((await keysOf(store, 'index/')).map((key) => key.slice(6, 38)));
  for (const key of await keysOf(store, 'sessions/')) {
    const isKept =
      key.includes(point.id) || key.endsWith('/outcome') || sessions.has(key.split('/')[1] ?? '');
    assert.ok(isKept, `${key} is left`);
  }
  assert.ok((await restored(again, point)).equals(await content(device)));
  await sound(again);
});

test('what an interrupted backup left goes after 14 days, or when it is told to', async () => {
  for (const release of ['age', 'command'] as const) {
    const store = memoryStore();
    let now = Date.now();
    const clock: Clock = { ...systemClock, now: () => now };
    await create(store);
    const repository = await openRepository(store, secret, { ...options, clock });
    await interrupted(repository, await randomDisk(8 * MiB), 7 * MiB);
    if (release === 'age') now += 15 * 24 * 3_600_000;
    await repository.collect({ maxDeleteShare: 1, dropInterrupted: release === 'command' });
    assert.deepEqual(await keysOf(store, 'packs/'), [], release);
    assert.equal((await repository.status()).blobs, 0, release);
    assert.equal((await keysOf(store, 'index/')).length, 1, `${release}: only the collection's own, empty`);
    await sound(repository);
  }
});

test('a checkpoint that cannot be written costs the backup nothing', async () => {
  const random = seededRandom(7);
  const plain = memoryStore();
  await create(plain);
  let armed = true;
  const store = faultyStore(plain, {
    random,
    faultAt: ({ operation, key }) =>
      armed && operation === 'put' && key.startsWith('index/') ? 'lost-answer' : undefined,
  });
  const repository = await openRepository(store, secret, options);
  const device = await randomDisk(16 * MiB);
  const session = await repository.beginBackup({ machine: 'm1' });
  await session.writeDisk({ name: 'disk0', device });
  armed = false;
  const point = await commit(session, device);
  assert.ok((await restored(repository, point)).equals(await content(device)));
  await sound(repository);
  await repository.collect({ maxDeleteShare: 1 });
  assert.ok((await restored(repository, point)).equals(await content(device)));
});

test('a checkpoint whose decision is lost keeps its packs even when the backup is given up', async () => {
  const plain = memoryStore();
  await create(plain);
  let outcomes = 0;
  const store = faultyStore(plain, {
    random: seededRandom(7),
    // the outcome of each checkpoint is written, but neither it nor what tries to undo it is answered
    faultAt: ({ operation, key }) => {
      if (operation !== 'put' || !key.endsWith('/outcome')) return undefined;
      outcomes += 1;
      return outcomes <= 2 ? 'lost-answer' : undefined;
    },
  });
  const repository = await openRepository(store, secret, options);
  const device = await randomDisk(8 * MiB);
  await interrupted(repository, device, 6 * MiB);
  await sound(repository);
  const point = await commit(await repository.beginBackup({ machine: 'm1' }), device);
  assert.ok((await restored(repository, point)).equals(await content(device)));
});
