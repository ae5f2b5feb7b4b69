import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from './mod.ts';

test('an object in memory is kept until its time by the store’s clock', async () => {
  let now = 1_000_000;
  const store = memoryStore({ retention: true, clock: { now: () => now } });
  await store.putIfAbsent('a', new Uint8Array(1));
  await store.retention?.retain('a', now + 10);
  await assert.rejects(store.delete('a'), {
    code: 'refused',
    message: 'deleting a in memory: the store keeps it until 1970-01-01T00:16:40.010Z',
  });
  now += 10;
  assert.equal(await store.retention?.retainedUntil('a'), undefined);
  await store.delete('a');
  assert.equal(await store.stat('a'), undefined);
});
