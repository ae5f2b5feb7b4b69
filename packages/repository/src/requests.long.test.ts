/** How many requests operations cost: each is a round trip on an object store, and some are billed. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { GiB, KiB, MiB, type Range } from '@prima/base';
import { type BlockDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { countingStore, memoryStore, type StoreCounts } from '@prima/storage';
import { temporaryFolder } from '@prima/testbed';
import type { Repository, Secret, SeenHead, Trust } from './contract.ts';
import type { Point } from './point.ts';
import { makePoints } from './many-points-fixture.ts';
import { createRepository, openRepository } from './repository.ts';

const secret: Secret = { kind: 'passphrase', text: 'counted' };
const options = { workers: 1, packBytes: MiB };

async function create() {
  const plain = memoryStore();
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  await createRepository(plain, { secret, chunkSize: 256 * KiB, kdfCost, ...options });
  const store = countingStore(plain);
  /** Opens the repository as another process does, and counts what `work` asks of the store, opening not included. */
  const counted = async <T>(work: (repository: Repository) => Promise<T>) => {
    const repository = await openRepository(store, secret, options);
    const before: StoreCounts = { ...store.counts };
    const result = await work(repository);
    const { put, get, stat, list } = store.counts;
    return {
      result,
      put: put - before.put,
      get: get - before.get,
      stat: stat - before.stat,
      list: list - before.list,
    };
  };
  return { plain, counted };
}

async function backup(
  repository: Repository,
  device: BlockDevice,
  tracked: { parent?: Point; changed?: Range[] } = {},
): Promise<Point> {
  const session = await repository.beginBackup({ machine: 'm' });
  const { parent, changed } = tracked;
  const result = await session.writeDisk({
    name: 'disk0',
    device,
    ...(changed && parent?.disks[0]
      ? { changed, parent: { point: parent.id, root: parent.disks[0].root } }
      : {}),
  });
  const time = new Date().toISOString();
  return await session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size: device.size, changed: changed ? 'tracked' : 'all', ...result }],
    skipped: [],
    files: [],
    tags: [],
    notes: [],
    warnings: [],
  });
}

async function change(device: WritableDevice, offset: number): Promise<Range> {
  await device.write(offset, randomBytes(4096));
  return { offset, length: 4096 };
}

test('what an incremental backup asks for does not grow with the disk, nor a chunk that is read', async () => {
  const costs: { write: number; read: number }[] = [];
  for (const size of [2 * GiB, 64 * GiB]) {
    const { counted } = await create();
    const device = memoryDevice(size);
    for (let at = 0; at < 8; at += 1) await change(device, (at * size) / 8);
    const first = await counted((repository) => backup(repository, device));
    const changed = [await change(device, size / 2)];
    const next = await counted((repository) => backup(repository, device, { parent: first.result, changed }));
    // marker, chunk, pages, segment, outcome, log entry
    assert.equal(next.put, 6, JSON.stringify(next));
    const read = await counted(async (repository) => {
      const disk = await repository.openDisk(next.result, 'disk0');
      await disk.read(size / 2, Buffer.alloc(512));
      await disk.close();
    });
    costs.push({ write: next.get + next.stat + next.list, read: read.get + read.stat + read.list });
  }
  const [small, large] = costs;
  assert.ok(small && large);
  // a disk so much larger has pages one or two levels deeper
  assert.ok(large.read <= small.read + 2, JSON.stringify(costs));
  assert.ok(large.write <= small.write + 20, JSON.stringify(costs));
  assert.ok(large.write < 60 && large.read < 20, JSON.stringify(costs));
});

test('a repository of many backups is opened with few requests once it was collected', async () => {
  const { counted, plain } = await create();
  const device = memoryDevice(64 * MiB);
  for (let number = 0; number < 33; number += 1) {
    await change(device, number * MiB);
    await counted((repository) => backup(repository, device));
  }
  const before = await counted((repository) => repository.status());
  await counted((repository) => repository.collect({}));
  const after = await counted((repository) => repository.status());
  assert.deepEqual(after.result, before.result);
  const segments: string[] = [];
  for await (const { key } of plain.list('index/')) segments.push(key);
  assert.equal(segments.length, 1);
  const check = await counted((repository) => repository.check({ readData: true }));
  assert.deepEqual(check.result.faults, []);
  assert.equal(check.result.points, 33);
});

test('listing many points asks for as much as listing few, once their outcomes are known', async (t) => {
  for (const count of [20, 1500]) {
    const { plain } = await create();
    await makePoints(plain, secret, count);
    const store = countingStore(plain);
    let head: SeenHead | undefined;
    const trust: Trust = {
      load: async () => head,
      save: async (_id, seen) => {
        head = seen;
      },
    };
    const cacheFolder = await temporaryFolder(t);
    /** Opening the repository and listing its points, as a command does. */
    const listed = async () => {
      const before = { ...store.counts };
      const repository = await openRepository(store, secret, { ...options, cacheFolder, trust });
      assert.equal((await repository.points()).length, count);
      const { put, get, stat, list } = store.counts;
      return {
        put: put - before.put,
        get: get - before.get,
        stat: stat - before.stat,
        list: list - before.list,
      };
    };
    // config, slot, key set; the last entry of the log and the one that is not there
    const opening = { put: 0, get: 5, stat: 0 };
    // slots, key sets, sessions; the log, whose end is not known yet
    assert.deepEqual(await listed(), { ...opening, get: opening.get + count, list: 4 });
    assert.deepEqual(await listed(), { ...opening, list: 3 });
  }
});
