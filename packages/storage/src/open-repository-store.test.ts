import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RemoteError } from '@prima/base';
import { filterStore } from './filter-store.ts';
import { countingStore, isRemote, memoryStore, openRepositoryStore, wrapStore } from './mod.ts';
import { VirtualClock } from './virtual-clock-fixture.ts';

test('remote is what is on another machine', () => {
  for (const url of ['s3://bucket/a', 'sftp://host/srv', 'S3://b']) assert.ok(isRemote(url), url);
  for (const url of ['/srv/a', 'a', 'file:///srv/a', 'FILE:///a', 'c:a']) assert.ok(!isRemote(url), url);
});

test('a remote store is tried again, limited and remembered; what is remembered costs no bandwidth', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-wrap-'));
  t.after(() => rm(folder, { recursive: true }));
  const inner = countingStore(memoryStore());
  let failures = 0;
  const flaky = filterStore(inner, {
    get: async (key, range, options) => {
      failures += 1;
      if (failures % 2 === 1) throw new RemoteError('reset', { retryable: true });
      return inner.get(key, range, options);
    },
  });
  const clock = new VirtualClock();
  const store = wrapStore(flaky, true, { cacheFolder: folder, download: 1000, clock });
  const segment = `index/${'ab'.repeat(16)}-1`;
  await inner.putIfAbsent('config', Buffer.from('{}'));
  await inner.putIfAbsent(segment, new Uint8Array(10_000));
  await clock.run(store.get('config'));
  await clock.run(store.get(segment));
  assert.ok(clock.time >= 9_800, `${clock.time}`);
  await store.close();
  const again = wrapStore(flaky, true, { cacheFolder: folder, download: 1000, clock });
  await clock.run(again.get('config'));
  const before = clock.time;
  assert.equal((await again.get(segment)).length, 10_000);
  assert.equal(clock.time, before);
  assert.equal(inner.counts.get, 3);
  await again.close();
});

test('a local store is used as it is, within limits where they are given', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'prima-wrap-'));
  t.after(() => rm(folder, { recursive: true }));
  const cacheFolder = join(folder, 'cache');
  const clock = new VirtualClock();
  const options = { create: true, cacheFolder, upload: 1000, clock };
  const store = await openRepositoryStore(join(folder, 'repository'), options);
  await clock.run(store.putIfAbsent('config', new Uint8Array(5000)));
  assert.ok(clock.time >= 4_800, `${clock.time}`);
  await store.get('config');
  await store.close();
  assert.deepEqual(await readdir(folder), ['repository']);
});
