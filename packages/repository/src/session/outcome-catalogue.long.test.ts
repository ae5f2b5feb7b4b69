import assert from 'node:assert/strict';
import { readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { forEachBounded, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { countingStore, memoryStore } from '@prima/storage';
import { temporaryFolder } from '@prima/testbed';
import type { Repository, Secret, SeenHead, Trust } from '../contract.ts';
import type { Point } from '../point.ts';
import { createRepository, openRepository } from '../repository.ts';

const secret: Secret = { kind: 'passphrase', text: 'a catalogue' };
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };

function pointOf(number: number): Omit<Point, 'id'> {
  const time = new Date(Date.UTC(2030, 0, 1) + number * 3_600_000).toISOString();
  const machine = { id: 'm1', name: 'machine' };
  const lists = { disks: [], skipped: [], files: [], tags: [], notes: [], warnings: [] };
  return { machine, time, started: time, finished: time, mode: 'cold', quiesced: false, ...lists };
}

async function commitPoints(repository: Repository, count: number): Promise<void> {
  const numbers = Array.from({ length: count }, (_, index) => index);
  await forEachBounded(numbers, 8, async (number) => {
    await (await repository.beginBackup()).commit(pointOf(number));
  });
}

test('an outcome is read from the store once, by all processes of a machine', async (t) => {
  const cacheFolder = await temporaryFolder(t);
  const plain = memoryStore();
  const store = countingStore(plain);
  const repository = await createRepository(store, { secret, kdfCost, packBytes: MiB });
  await commitPoints(repository, 100);
  let head: SeenHead | undefined;
  const trust: Trust = {
    load: async () => head,
    save: async (_id, seen) => {
      head = seen;
    },
  };
  const open = () => openRepository(store, secret, { cacheFolder, trust });

  const first = await open();
  const points = await first.points();
  assert.equal(points.length, 100);
  const [file = ''] = await readdir(cacheFolder);
  assert.equal((await stat(join(cacheFolder, file))).mode & 0o777, 0o600);

  const second = await open();
  const { get, list } = store.counts;
  assert.deepEqual(await second.points(), points);
  assert.equal(store.counts.get - get, 2, 'the end of the log; all outcomes were known');
  assert.equal(store.counts.list - list, 1);

  // what other machines do meanwhile is seen: one point more, one less
  await commitPoints(repository, 1);
  const [gone] = points;
  assert.ok(gone);
  await repository.forget(gone);
  const now = await (await open()).points();
  assert.equal(now.length, 100);
  assert.ok(!now.some(({ id }) => id === gone.id));
});

test('a catalogue that is damaged, of another repository or gone costs only time', async (t) => {
  const cacheFolder = await temporaryFolder(t);
  const store = memoryStore();
  const repository = await createRepository(store, { secret, kdfCost });
  await repository
    .beginBackup()
    .then((session) => session.writeDisk({ name: 'd', device: memoryDevice(MiB) }));
  await commitPoints(repository, 70);
  const listed = async () => (await openRepository(store, secret, { cacheFolder })).points();
  const points = await listed();
  const [name = ''] = await readdir(cacheFolder);
  const path = join(cacheFolder, name);
  const file = await readFile(path);
  for (let at = 0; at < file.length; at += 97) {
    const damaged = Buffer.from(file);
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    await writeFile(path, damaged);
    assert.deepEqual(await listed(), points, `byte ${at}`);
  }
  await writeFile(path, file.subarray(0, 3));
  assert.deepEqual(await listed(), points);
  const other = await createRepository(memoryStore(), { secret, kdfCost, cacheFolder });
  await writeFile(join(cacheFolder, `outcomes-${other.id}`), file);
  assert.deepEqual(await other.points(), []);
  await rm(cacheFolder, { recursive: true });
  assert.deepEqual(await listed(), points);
});

test('what a killed writer left goes with the next writing, young ones stay', async (t) => {
  const cacheFolder = await temporaryFolder(t);
  const [old, young] = [join(cacheFolder, '.tmp-outcomes-a-1'), join(cacheFolder, '.tmp-outcomes-a-2')];
  for (const path of [old, young]) await writeFile(path, 'half');
  const then = new Date(Date.now() - 48 * 3_600_000);
  await utimes(old, then, then);
  const repository = await createRepository(memoryStore(), { secret, kdfCost, cacheFolder });
  await commitPoints(repository, 1);
  await repository.points();
  assert.deepEqual((await readdir(cacheFolder)).sort(), ['.tmp-outcomes-a-2', `outcomes-${repository.id}`]);
});
