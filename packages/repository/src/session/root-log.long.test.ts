/** The log of roots against somebody who may do anything to the store, and who may even have a key that reads. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { forEachBounded, PrimaError } from '@prima/base';
import { countingStore, type ObjectStore } from '@prima/storage';
import { putRecord } from '../context.ts';
import type { CheckReport, Repository, Trust } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import { backup, contextOf, fresh, keysOf, memoryTrust, open, replace, secret } from '../keys-fixture.ts';

const reading = { kind: 'keyfile', bytes: randomBytes(40) } as const;

/** A repository with three points, seen by an installation to the end. */
async function seen(): Promise<{
  store: ObjectStore;
  repository: Repository;
  trust: Trust;
  points: string[];
}> {
  const trust = memoryTrust();
  const { store, repository } = await fresh(trust);
  const points: string[] = [];
  for (let i = 0; i < 3; i += 1) points.push((await backup(repository)).point.id);
  return { store, repository, trust, points };
}

const kindsOf = ({ faults }: CheckReport) => faults.map(({ kind }) => kind);

test('a log that was cut is noticed by who has seen it whole, and can be accepted', async () => {
  const { store, trust, points } = await seen();
  await store.delete('log/0000000003');
  for (const key of await keysOf(store, `sessions/${points[2]}/`)) await store.delete(key);
  const fault = /the log had 3 entries when this computer last saw it, now it has 2/;

  const { repository, warnings } = await open(store, { trust });
  const [point] = await repository.points();
  assert.ok(point);
  assert.match(warnings.join(), fault);
  await assert.rejects(repository.forget(point), { code: 'refused', message: fault });
  await assert.rejects(repository.collect({}), { code: 'refused', message: /prima check --accept-head/ });
  await assert.rejects(repository.rotateKeys(), { code: 'refused', message: fault });
  assert.deepEqual(kindsOf(await repository.check({ readData: false })), ['rolled-back']);
  const { point: late } = await backup(repository);
  assert.match(late.warnings.join(), fault);
  // it does not get used to it
  const again = await open(store, { trust });
  assert.deepEqual(kindsOf(await again.repository.check({ readData: false })), ['rolled-back']);
  // who has not seen it sees a sound repository
  const stranger = await open(store);
  assert.deepEqual(kindsOf(await stranger.repository.check({ readData: false })), []);

  assert.deepEqual(kindsOf(await again.repository.check({ readData: false, acceptHead: true })), []);
  await again.repository.forget(point);
  await again.repository.collect({ maxDeleteShare: 1 });
  const after = await open(store, { trust });
  assert.equal((await after.repository.points()).length, 2);
  assert.deepEqual(after.warnings, []);
});

test('a whole store that was set back is noticed', async () => {
  const { store, repository, trust } = await seen();
  const copy = new Map<string, Uint8Array>();
  for (const key of await keysOf(store, '')) copy.set(key, await store.get(key));
  const { point } = await backup(repository);
  await backup(repository);
  for (const key of await keysOf(store, '')) if (!copy.has(key)) await store.delete(key);
  const { repository: stranger } = await open(store, { trust: memoryTrust() });
  await backup(stranger); // another computer goes on from there: the log is as long as it was, and another one
  await backup(stranger);
  const { repository: opened, warnings } = await open(store, { trust });
  await opened.points();
  assert.match(warnings.join(), /entry 5 of the log is not the one that this computer has seen/);
  await assert.rejects(opened.forget(point), { code: 'refused' });
});

test('an entry that was replaced by an older one, removed or damaged is noticed', async () => {
  const { store, trust } = await seen();
  const entries = await Promise.all([1, 2, 3].map((n) => store.get(`log/000000000${n}`)));
  const [first = new Uint8Array(), second = new Uint8Array(), third = new Uint8Array()] = entries;
  const attempt = async (key: string, bytes: Uint8Array | undefined) => {
    if (bytes) await replace(store, key, bytes);
    else await store.delete(key);
    const { repository } = await open(store, { trust });
    assert.notDeepEqual(kindsOf(await repository.check({ readData: false })), [], key);
    await assert.rejects(repository.collect({}), { code: /integrity|refused/ }, key);
  };
  await attempt('log/0000000002', first);
  await attempt('log/0000000002', undefined);
  await attempt('log/0000000002', Buffer.from(second).fill(1, 100, 101));
  await replace(store, 'log/0000000002', second);
  await attempt('log/0000000003', second);
  await attempt('log/0000000003', Buffer.from(third).subarray(1));
  // a backup goes on, and says so
  const { repository, warnings } = await open(store, { trust });
  const { point } = await backup(repository);
  assert.equal(point.warnings.length, 1);
  assert.match(warnings.join(), /its log entry is not/);
});

test('with a key that only reads nobody extends the log, adds a point or has one forgotten', async () => {
  const { store, repository, trust, points } = await seen();
  await repository.addKeySlot(reading, 'auditor', { readOnly: true });
  const context = await contextOf(store, reading);
  const [victim = ''] = points;
  const soundly = async () => {
    const { repository: opened } = await open(store, { trust });
    return opened;
  };
  const entry = {
    seq: 4,
    previous: '0'.repeat(64),
    points: 4,
    event: 'committed',
    session: 'x',
    outcome: 'y',
  };
  await putRecord(context, 'log/0000000004', blobType.logEntry, { ...entry, signature: 'ab'.repeat(64) });
  assert.deepEqual(kindsOf(await (await soundly()).check({ readData: false })), ['log-gap']);
  await assert.rejects((await soundly()).collect({}), { code: 'integrity', message: /was not signed/ });
  await store.delete('log/0000000004');

  await putRecord(context, `sessions/${victim}/forgotten`, blobType.forgotten, { session: victim, time: '' });
  assert.deepEqual(kindsOf(await (await soundly()).check({ readData: false })), ['forged-forget']);
  await (await soundly()).collect({ maxDeleteShare: 1 });
  assert.ok(await store.stat(`sessions/${victim}/outcome`), 'a mark that nobody signed forgets nothing');
  const missing = await open(store, { trust });
  await missing.repository.points();
  assert.match(
    missing.warnings.join(),
    /left out, because somebody who may not has marked them as forgotten/,
  );
  await store.delete(`sessions/${victim}/forgotten`);

  const forged = `${'0'.repeat(31)}1`;
  const { outcome } = { outcome: { session: forged, state: 'committed', kind: 'backup', time: '' } };
  await putRecord(context, `sessions/${forged}/outcome`, blobType.outcome, outcome);
  const listing = await open(store, { trust });
  assert.equal((await listing.repository.points()).length, 3);
  assert.match(listing.warnings.join(), /outcome was not signed/);
  assert.deepEqual(kindsOf(await (await soundly()).check({ readData: false })), ['damaged-outcome']);
  await store.delete(`sessions/${forged}/outcome`);
  assert.deepEqual(kindsOf(await (await soundly()).check({ readData: true })), []);
});

test('a point that was removed is missed when points are listed, and named', async () => {
  const { store, trust, points } = await seen();
  for (const key of await keysOf(store, `sessions/${points[1]}/`)) await store.delete(key);
  const { repository, warnings } = await open(store, { trust });
  assert.equal((await repository.points()).length, 2);
  assert.match(
    warnings.join(),
    new RegExp(`1 restore points that are not there \\(${points[1]?.slice(0, 12)}\\)`),
  );
  await repository.points();
  assert.equal(warnings.length, 1); // said once
});

test('forgetting and collecting leave nothing to miss', async () => {
  const { store, repository, trust } = await seen();
  const [first] = await repository.points();
  assert.ok(first);
  await repository.forget(first);
  await repository.collect({ maxDeleteShare: 1 });
  const { repository: opened, warnings } = await open(store, { trust });
  assert.equal((await opened.points()).length, 2);
  assert.deepEqual(warnings, []);
});

test('writers and collections at once log everything once', async () => {
  const { store, repository } = await fresh();
  const { repository: second } = await open(store);
  const { repository: collector } = await open(store);
  const numbers = Array.from({ length: 12 }, (_, i) => i);
  const writing = forEachBounded(numbers, 4, async (n) => {
    await backup(n % 2 === 0 ? repository : second);
  });
  const collecting = collector.collect({ maxDeleteShare: 1 });
  await Promise.all([writing, collecting]);
  const context = await contextOf(store, secret);
  const { entries, fault } = await context.log.readAll();
  assert.equal(fault, undefined);
  assert.equal(new Set(entries.map(({ session }) => session)).size, 12);
  assert.equal(entries.length, 12);
  assert.equal(entries.at(-1)?.points, 12);
});

test('following the log costs two requests, appending one', async () => {
  const trust = memoryTrust();
  const { store: plain, repository: first } = await fresh(trust);
  for (let i = 0; i < 5; i += 1) await backup(first);
  const store = countingStore(plain);
  const { repository } = await open(store, { trust });
  const before = { ...store.counts };
  await repository.points();
  const outcomes = 5;
  assert.equal(store.counts.get - before.get, outcomes + 2);
  assert.equal(store.counts.list - before.list, 1);
  const context = await contextOf(store, secret);
  await context.log.inspect();
  const { get, list, put } = store.counts;
  await context.log.append({ event: 'committed', session: 'x', outcome: 'y' });
  assert.deepEqual([store.counts.get - get, store.counts.list - list], [0, 0]);
  assert.equal(store.counts.put - put, 1);
});

test('a home that is damaged or full is told, and keeps nobody from backing up', async () => {
  const { store, repository, trust } = await seen();
  const full = { ...trust, save: () => Promise.reject(new PrimaError('no-space', 'no room')) };
  const opened = await open(store, { trust: full });
  await backup(opened.repository);
  assert.match(opened.warnings.join(), /no room; a rollback to before it would not be noticed/);
  const damaged = { ...trust, load: () => Promise.reject(new PrimaError('format', 'head.json is damaged')) };
  const other = await open(store, { trust: damaged });
  const { point } = await backup(other.repository);
  assert.match(point.warnings.join(), /head.json is damaged/);
  await assert.rejects(other.repository.forget(point), { code: 'refused', message: /--accept-head/ });
  assert.equal((await repository.points()).length, 5);
});
