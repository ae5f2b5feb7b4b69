/** Who is cancelled while a store does not answer does not wait for it, and takes nothing from others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IntegrityError } from '@prima/base';
import { filterStore, memoryStore, type ObjectStore } from '@prima/storage';
import { backUp, bytesOf, chunk, randomDisk, reopened } from '../damage/damage-fixture.ts';
import { createRepository } from '../repository.ts';

const forever = () => new Promise<never>(() => undefined);

async function lab() {
  const inner = memoryStore();
  const secret = { kind: 'passphrase', text: 'correct horse' } as const;
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  const made = await createRepository(inner, {
    secret,
    workers: 0,
    packBytes: 4 * chunk,
    chunkSize: chunk,
    kdfCost,
  });
  const device = await randomDisk(12);
  const { point } = await backUp(made, device);
  const state = { hangs: '', asked: 0 };
  const store: ObjectStore = filterStore(inner, {
    get: async (key, range, options) => {
      if (state.hangs === '' || !key.startsWith(state.hangs)) return await inner.get(key, range, options);
      state.asked += 1;
      return await forever();
    },
  });
  return { repository: await reopened(store), point, device, state };
}

for (const hangs of ['packs/meta/', 'packs/data/']) {
  for (const [what, buffer] of [
    ['whole chunks', new Uint8Array(new SharedArrayBuffer(11 * chunk))],
    ['parts of chunks', new Uint8Array(chunk / 2)],
  ] as const) {
    test(`a read of ${what} ends when it is cancelled while ${hangs} does not answer`, async () => {
      const { repository, point, device, state } = await lab();
      const disk = await repository.openDisk(point, 'disk0');
      state.hangs = hangs;
      const stop = new AbortController();
      const reading = disk.read(chunk / 2, buffer, stop.signal);
      while (state.asked === 0) await new Promise((done) => setImmediate(done));
      stop.abort();
      await assert.rejects(reading, { code: 'cancelled' });
      state.hangs = '';
      assert.ok((await bytesOf(disk)).equals(await bytesOf(device)), 'the next one begins anew');
      await disk.close();
    });
  }
}

test('a read that is given up because of damage elsewhere says nothing of what it was to read', async () => {
  const { repository, point, device, state } = await lab();
  const disk = await repository.openDisk(point, 'disk0');
  state.hangs = 'packs/data/';
  const stop = new AbortController();
  const reading = disk.read(0, new Uint8Array(new SharedArrayBuffer(6 * chunk)), stop.signal);
  while (state.asked === 0) await new Promise((done) => setImmediate(done));
  stop.abort(new IntegrityError('another disk is damaged'));
  await assert.rejects(reading, { code: 'cancelled' });
  state.hangs = '';
  assert.ok((await bytesOf(disk)).equals(await bytesOf(device)));
  await disk.close();
  const { faults } = await repository.check({ readData: false });
  assert.deepEqual(faults, [], 'no damage was noted');
});

test('a check ends when it is cancelled while pages do not come', async () => {
  const { repository, state } = await lab();
  state.hangs = 'packs/meta/';
  const stop = new AbortController();
  const checking = repository.check({ readData: false, signal: stop.signal });
  while (state.asked === 0) await new Promise((done) => setImmediate(done));
  stop.abort();
  await assert.rejects(checking, { code: 'cancelled' });
});
