/** Small objects of sessions that cannot be read: nobody is kept from restoring, and collections get over it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, systemClock } from '@prima/base';
import { openRepository } from '../repository.ts';
import { contextForTest } from '../context-fixture.ts';
import { beginSession } from '../session/sessions.ts';
import { backUp, bytesOf, keysOf, newLab, randomDisk, reopened, restored } from './damage-fixture.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;

function later(hours: number): Clock {
  return { ...systemClock, now: () => Date.now() + hours * 3_600_000 };
}

test('beside a condemned list that cannot be read points are restored, and backups share nothing', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point } = await backUp(repository, device);
  const session = await beginSession(await contextForTest(store, secret), 'collection');
  await store.putIfAbsent(`condemned/${session}`, Buffer.from('torn'));
  const open = await reopened(store);
  assert.ok((await restored(open, point)).equals(await bytesOf(device)));
  const { result } = await backUp(open, device);
  assert.equal(result.figures.added, device.size, 'any pack may be on that list');
  const clock = later(48);
  const collecting = await openRepository(store, secret, { workers: 0, clock });
  await collecting.collect({ maxDeleteShare: 1 });
  assert.deepEqual(await keysOf(store, 'condemned/'), []);
  const again = await backUp(await reopened(store), device);
  assert.equal(again.result.figures.added, 0);
  assert.deepEqual((await (await reopened(store)).check({ readData: true })).faults, []);
});

test('a condemned list of a collection that is over counts no more, whether it can be read or not', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  await backUp(repository, device);
  await repository.collect({});
  const [over = ''] = await keysOf(store, 'sessions/');
  await store.putIfAbsent(`condemned/${over.slice(9, 41)}`, Buffer.from('torn'));
  assert.equal((await backUp(await reopened(store), device)).result.figures.added, 0);
});

test('a marker that cannot be read keeps collections away for as long as its session may live', async () => {
  const { store, repository } = await newLab();
  const device = await randomDisk(4);
  const { point } = await backUp(repository, device);
  const torn = `sessions/${'0'.repeat(20)}${Date.now().toString(16).padStart(12, '0')}`;
  await store.putIfAbsent(`${torn}/marker`, Buffer.from('torn'));
  await assert.rejects((await reopened(store)).collect({ waitMs: 0 }), { code: 'busy' });
  const clock = later(48);
  const report = await (await openRepository(store, secret, { workers: 0, clock })).collect({});
  assert.equal(report.fenced.length, 1);
  assert.deepEqual(await keysOf(store, torn), [`${torn}/outcome`]);
  assert.ok((await restored(await reopened(store), point)).equals(await bytesOf(device)));
});
