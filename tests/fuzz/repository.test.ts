/** A repository of which any object may have been changed: what it gives back is right, or an error. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { createRepository, openRepository, type Point, type Repository } from '@prima/repository';
import { memoryStore } from '@prima/storage';
import { answerOf, fuzzRun, mutate } from '@prima/testbed';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const small = { chunkSize: 256 * KiB, workers: 1, packBytes: 512 * KiB };
const size = MiB + 512;

async function backUp(repository: Repository, content: Buffer): Promise<Point> {
  const device = memoryDevice(size);
  await device.write(0, content);
  const session = await repository.beginBackup();
  const result = await session.writeDisk({ name: 'disk0', device });
  const file = await session.writeFile('m.vmx', content.subarray(0, 1000));
  const time = new Date().toISOString();
  return session.commit({
    machine: { id: 'm', name: 'm' },
    time,
    started: time,
    finished: time,
    mode: 'cold',
    quiesced: false,
    disks: [{ name: 'disk0', size, changed: 'all', ...result }],
    skipped: [],
    files: [file],
    tags: [],
    notes: [],
    warnings: [],
  });
}

async function content(repository: Repository, point: Point): Promise<Buffer> {
  const device = await repository.openDisk(point, 'disk0');
  try {
    const bytes = Buffer.alloc(device.size);
    await device.read(0, bytes);
    return bytes;
  } finally {
    await device.close();
  }
}

test('a repository with changed objects never gives back what was not stored', async (t) => {
  const { seed, rounds, random } = fuzzRun(60);
  t.diagnostic(`seed ${seed}`);
  const store = memoryStore();
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const made = await createRepository(store, { secret, ...small, kdfCost });
  const contents = new Map<string, Buffer>();
  for (let i = 0; i < 3; i += 1) {
    const bytes = Buffer.alloc(size);
    random.bytes(bytes.subarray(i * 256 * KiB, (i + 2) * 256 * KiB));
    contents.set((await backUp(made, bytes)).id, bytes);
  }
  await made.close();
  const objects = new Map<string, Uint8Array>();
  for await (const { key } of store.list('')) objects.set(key, await store.get(key));
  const keys = [...objects.keys()].filter((key) => !key.startsWith('keys/'));
  const tally = { whole: 0, refused: 0 };
  for (let round = 0; round < rounds; round += 1) {
    const changed = new Set(
      Array.from({ length: 1 + random.below(3) }, () => keys[random.below(keys.length)] ?? ''),
    );
    const damaged = memoryStore();
    for (const [key, bytes] of objects) {
      const isChanged = changed.has(key);
      const others = keys.map((other) => objects.get(other) ?? bytes);
      await damaged.putIfAbsent(key, isChanged ? mutate(random, bytes, others) : bytes);
    }
    const where = `seed ${seed}, round ${round}: ${[...changed].join(', ')}`;
    const repository = await answerOf(() => openRepository(damaged, secret, small), where);
    const points = await answerOf(() => repository?.points(), where);
    for (const point of points ?? []) {
      const expected = contents.get(point.id);
      assert.ok(expected, `${where}: an invented point`);
      const found = await answerOf(() => repository && content(repository, point), where);
      assert.ok(!found || found.equals(expected), `${where}: another content`);
      const file = await answerOf(() => repository?.readFile(point, 'm.vmx'), where);
      assert.ok(!file || expected.subarray(0, 1000).equals(file), `${where}: another file`);
      tally[found && file ? 'whole' : 'refused'] += 1;
    }
    await answerOf(() => repository?.check({ readData: true }), where);
    await answerOf(() => repository?.collect({ maxDeleteShare: 1, waitMs: 0 }), where);
    for (const point of (await answerOf(() => repository?.points(), where)) ?? []) {
      const found = await answerOf(() => repository && content(repository, point), where);
      assert.ok(!found || found.equals(contents.get(point.id) ?? Buffer.alloc(0)), `${where}: collected`);
    }
    await repository?.close();
  }
  t.diagnostic(`${tally.whole} points came back, ${tally.refused} were refused`);
});
