/** Backups on top of a point that is forgotten while they begin: a collection may have begun to take away what it needs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ObjectStore } from '@prima/storage';
import { backUp, bytesOf, newLab, randomDisk, reopened, restored } from '../damage/damage-fixture.ts';

/** `store`, with `hook` run once, before the first outcome is stored. */
function beforeOutcome(store: ObjectStore, hook: () => Promise<void>): ObjectStore {
  let isDone = false;
  return {
    url: store.url,
    get: (key, range, options) => store.get(key, range, options),
    stat: (key, options) => store.stat(key, options),
    list: (prefix, options) => store.list(prefix, options),
    delete: (key, options) => store.delete(key, options),
    close: () => store.close(),
    putIfAbsent: async (key, body, options) => {
      if (!isDone && key.endsWith('/outcome')) {
        isDone = true;
        await hook();
      }
      return await store.putIfAbsent(key, body, options);
    },
  };
}

for (const chunks of [4, 130]) {
  test(`a parent of ${chunks} chunks that was collected before the backup began is not built on`, async () => {
    const { store, repository } = await newLab();
    const device = await randomDisk(chunks, [0, 1, chunks - 1]);
    const { point: parent } = await backUp(repository, device); // chosen by now
    await repository.forget(parent);
    await (await reopened(store)).collect({ maxDeleteShare: 1 });
    const { point, result } = await backUp(await reopened(store), device, { changed: [], parent });
    assert.equal(result.parentGone, true);
    assert.ok((await restored(await reopened(store), point)).equals(await bytesOf(device)));
    assert.deepEqual((await (await reopened(store)).check({ readData: true })).faults, []);
  });

  test(`a parent of ${chunks} chunks that is about to be collected is not built on`, async () => {
    const { store, repository } = await newLab();
    const device = await randomDisk(chunks, [0, 1, chunks - 1]);
    const { point: parent } = await backUp(repository, device);
    await repository.forget(parent);
    let written: Awaited<ReturnType<typeof backUp>> | undefined;
    // it waited for all there were, and has marked for the second time
    const collecting = await reopened(
      beforeOutcome(store, async () => {
        written = await backUp(await reopened(store), device, { changed: [], parent });
      }),
    );
    await collecting.collect({ maxDeleteShare: 1 });
    assert.ok(written);
    assert.ok((await restored(await reopened(store), written.point)).equals(await bytesOf(device)));
    assert.deepEqual((await (await reopened(store)).check({ readData: true })).faults, []);
  });
}

test('a locked parent that is marked as forgotten is not built on either', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point: parent } = await backUp(repository, device);
  await store.putIfAbsent(`sessions/${parent.id}/forgotten`, Buffer.from('whatever'));
  const locked = String(Date.now() + 3_600_000).padStart(13, '0');
  await store.putIfAbsent(`sessions/${parent.id}/locked-${locked}`, Buffer.from('whatever'));
  const { result } = await backUp(await reopened(store), device, { changed: [], parent });
  assert.equal(result.parentGone, true);
  assert.equal(result.figures.read, device.size);
});
