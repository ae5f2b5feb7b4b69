/** Collections beside damage that nobody knew of when they began. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filterStore } from '@prima/storage';
import { backUp, bytesOf, keysOf, newLab, randomDisk, reopened, restored } from '../damage/damage-fixture.ts';

test('the other copy of a page stays when the first turns out to be gone in the second mark', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(8);
  // neither knows of the other, so that both store everything
  const { promise: isWritten, resolve } = Promise.withResolvers<void>();
  const slow = filterStore(store, {
    putIfAbsent: async (key, body, options) => {
      if (key.endsWith('/outcome')) await isWritten;
      return await store.putIfAbsent(key, body, options);
    },
  });
  const one = backUp(await reopened(slow), device);
  while ((await keysOf(store, 'index/')).length === 0) await new Promise((done) => setImmediate(done));
  const [first = ''] = await keysOf(store, 'packs/meta/');
  const { point: two } = await backUp(repository, device);
  resolve();
  const { point } = await one;
  const metas = await keysOf(store, 'packs/meta/');
  assert.equal(metas.length, 2);
  // what is in several packs counts in that of the first segment
  const preferred = point.id < two.id ? first : metas.find((key) => key !== first);
  const collecting = filterStore(store, {
    putIfAbsent: async (key, body, options) => {
      if (key.startsWith('condemned/')) await store.delete(preferred ?? '');
      return await store.putIfAbsent(key, body, options);
    },
  });
  await (await reopened(collecting)).collect({ maxDeleteShare: 1 });
  for (const left of [point, two]) {
    assert.ok((await restored(await reopened(store), left)).equals(await bytesOf(device)));
  }
});
