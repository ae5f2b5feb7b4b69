import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { KiB, MiB, type Range, seededRandom, systemClock } from '@prima/base';
import { memoryStore } from '@prima/storage';
import { createRepository, openRepository } from './repository.ts';
import { backup, content, diskOf, fresh, restored, secret, small, sound } from './repository-fixture.ts';

test('a disk comes back as it was, with its files, after the repository was opened anew', async () => {
  const { store, repository } = await fresh();
  const device = await diskOf(5 * MiB + 512, [
    { offset: 100, length: 3000 },
    { offset: 2 * MiB - 5, length: 700 * KiB },
    { offset: 5 * MiB, length: 512 },
  ]);
  const { point, result } = await backup(repository, device);
  const { stored } = result.figures;
  assert.ok(stored > 700 * KiB && stored < 2 * MiB, `${stored}`);
  const again = await openRepository(store, secret, small);
  const [listed] = await again.points();
  assert.deepEqual(listed, point);
  assert.ok((await restored(again, point)).equals(await content(device)));
  assert.equal(Buffer.from(await again.readFile(point, 'm.vmx')).toString(), 'displayName = "m"\n');
  await sound(again);
});

test('what is there is not stored again', async () => {
  const { repository } = await fresh();
  const device = await diskOf(4 * MiB, [{ offset: 0, length: 3 * MiB }]);
  await backup(repository, device);
  const { result } = await backup(repository, device);
  assert.equal(result.figures.added, 0);
  assert.equal(result.figures.stored, 0);
});

test('tracked changes give the point that a full read gives, and cost what changed', async () => {
  const { repository } = await fresh();
  const size = 80 * MiB; // more than one leaf page
  const device = await diskOf(size, [
    { offset: 0, length: 20 * MiB },
    { offset: 50 * MiB, length: MiB },
  ]);
  let { point } = await backup(repository, device);
  const seed = Date.now() % 1e6;
  const random = seededRandom(seed);
  for (let round = 0; round < 5; round += 1) {
    const changed: Range[] = [];
    for (let i = 0; i < 3; i += 1) {
      const range = { offset: random.below(size - 70_000), length: 1 + random.below(70_000) };
      if (random.below(4) === 0) await device.zero(range);
      else await device.write(range.offset, randomBytes(range.length));
      changed.push(range);
    }
    const tracked = await backup(repository, device, { changed, parent: point });
    assert.equal(tracked.result.trackingFault, undefined, `seed ${seed}`);
    assert.ok(tracked.result.figures.read <= (6 + 16) * 256 * KiB, `seed ${seed}`);
    const full = await backup(repository, device);
    assert.deepEqual(tracked.result.root, full.result.root, `seed ${seed}`);
    const [before, after] = [point.disks[0], tracked.point.disks[0]];
    assert.ok(before && after);
    const difference = await repository.difference(before, after);
    assert.ok(difference.length <= 4, `seed ${seed}`);
    ({ point } = tracked);
  }
  assert.ok((await restored(repository, point)).equals(await content(device)), `seed ${seed}`);
  await sound(repository);
});

test('a change that tracking kept quiet about is found and the disk is read in full', async () => {
  const { repository } = await fresh();
  const device = await diskOf(4 * MiB, [{ offset: 0, length: 4 * MiB }]);
  const { point } = await backup(repository, device);
  await device.write(MiB + 5, Buffer.from('x'));
  const { point: second, result } = await backup(repository, device, {
    changed: [],
    parent: point,
    sampleChunks: 1000,
  });
  assert.equal(result.trackingFault?.offset, MiB);
  assert.ok((await restored(repository, second)).equals(await content(device)));
});

test('an aborted session leaves no point and takes back what it stored', async () => {
  const { store, repository } = await fresh();
  const device = await diskOf(2 * MiB, [{ offset: 0, length: 2 * MiB }]);
  const { point } = await backup(repository, device);
  const packs = async () => {
    const keys: string[] = [];
    for await (const { key } of store.list('packs/')) keys.push(key);
    return keys;
  };
  const before = await packs();
  const session = await repository.beginBackup();
  await session.writeDisk({ name: 'disk0', device: await diskOf(4 * MiB, [{ offset: 0, length: 4 * MiB }]) });
  assert.ok((await packs()).length > before.length);
  await session.abort('test');
  assert.deepEqual(await packs(), before);
  assert.equal((await repository.points()).length, 1);
  assert.equal((await repository.collect({})).bytesFreed, 0);
  assert.ok((await restored(repository, point)).equals(await content(device)));
  await sound(repository);
});

test('forgotten points are collected, shared chunks stay, half-dead packs are rewritten', async () => {
  const { repository } = await fresh();
  const device = await diskOf(8 * MiB, [{ offset: 0, length: 8 * MiB }]);
  const first = await backup(repository, device);
  for (let chunk = 0; chunk < 32; chunk += 1) {
    if (chunk % 4 !== 0) await device.write(chunk * 256 * KiB, randomBytes(256 * KiB));
  }
  const second = await backup(repository, device);
  await repository.forget(first.point);
  await assert.rejects(repository.openDisk(first.point, 'disk0'), { code: 'not-found' });
  const plan = await repository.collect({ dryRun: true });
  const report = await repository.collect({});
  assert.ok(report.packsRewritten > 0 && report.bytesFreed > 5 * MiB, JSON.stringify(report));
  assert.equal(plan.bytesFreed, report.bytesFreed);
  assert.deepEqual(await repository.points(), [second.point]);
  assert.ok((await restored(repository, second.point)).equals(await content(device)));
  await sound(repository);
  const status = await repository.status();
  assert.ok(status.storedBytes < 8.5 * MiB, `${status.storedBytes}`);
  const idle = await repository.collect({});
  assert.equal(idle.packsDeleted + idle.packsRewritten, 0);
});

test('rewriting goes in rounds and keeps to its budget, the emptiest packs first; a dry run foretells both', async () => {
  const { repository } = await fresh();
  const device = await diskOf(16 * MiB, [{ offset: 0, length: 16 * MiB }]);
  const first = await backup(repository, device);
  for (let chunk = 0; chunk < 64; chunk += 1) {
    if (chunk % 4 < 2 || chunk > 40) await device.write(chunk * 256 * KiB, randomBytes(256 * KiB));
  }
  const second = await backup(repository, device);
  await repository.forget(first.point);

  const tight = { maxRewriteBytes: 2 * MiB, maxDeleteShare: 1 };
  const foretold = await repository.collect({ ...tight, dryRun: true });
  const partial = await repository.collect(tight);
  assert.ok(partial.packsRewritten > 0 && partial.postponed.packs > 0, JSON.stringify(partial));
  assert.deepEqual({ ...foretold, dryRun: false }, partial);
  await sound(repository);

  const rounds = { roundBytes: MiB, maxDeleteShare: 1 };
  const plan = await repository.collect({ ...rounds, dryRun: true });
  const report = await repository.collect(rounds);
  assert.equal(report.packsRewritten, partial.postponed.packs);
  assert.equal(report.postponed.packs, 0);
  assert.equal(plan.bytesFreed, report.bytesFreed);
  assert.ok((await restored(repository, second.point)).equals(await content(device)));
  await sound(repository);
});

test('a pinned point outlives its being forgotten', async () => {
  const { repository } = await fresh();
  const device = await diskOf(2 * MiB, [{ offset: 0, length: 2 * MiB }]);
  const { point } = await backup(repository, device);
  const open = await repository.openDisk(point, 'disk0');
  await repository.forget(point);
  await repository.collect({ maxDeleteShare: 1 });
  assert.ok((await content(open)).equals(await content(device)));
  await open.close();
  await repository.collect({ maxDeleteShare: 1 });
  assert.equal((await repository.status()).packs, 0);
});

test('a collection waits for a running backup, and never fences one that lives', async () => {
  const { repository } = await fresh();
  const { point } = await backup(repository, await diskOf(MiB, [{ offset: 0, length: MiB }]));
  await repository.forget(point);
  const session = await repository.beginBackup();
  await assert.rejects(repository.collect({ waitMs: 0, maxDeleteShare: 1 }), { code: 'busy' });
  await session.abort('test');
  await repository.collect({ waitMs: 0, maxDeleteShare: 1 });
});

test('a collection refuses to delete most of a repository', async () => {
  const { repository } = await fresh();
  const { point } = await backup(repository, await diskOf(MiB, [{ offset: 0, length: MiB }]));
  await repository.forget(point);
  await assert.rejects(repository.collect({}), { code: 'refused' });
});

test('a backup that a collection gave up on cannot commit', async () => {
  const { store, repository } = await fresh();
  const session = await repository.beginBackup();
  const { point } = await backup(repository, await diskOf(MiB, [{ offset: 0, length: 1000 }]));
  const { id: _id, ...rest } = point;
  // what a collection does to a session that it believes dead, done by hand through a second opening
  const second = await openRepository(store, secret, small);
  const { fenceForTest } = await import('./session/fence-fixture.ts');
  await fenceForTest(store, session.id, secret);
  await assert.rejects(session.commit(rest), { code: 'refused' });
  assert.equal((await second.points()).length, 1);
});

test('wrong passphrase, other slots, the last slot', async () => {
  const { store, repository } = await fresh();
  await assert.rejects(openRepository(store, { kind: 'passphrase', text: 'wrong' }), { code: 'wrong-key' });
  const [first] = await repository.keySlots();
  assert.ok(first);
  await assert.rejects(repository.removeKeySlot(first.id), { code: 'refused' });
  const file = { kind: 'keyfile', bytes: randomBytes(40) } as const;
  const added = await repository.addKeySlot(file, 'file');
  const byFile = await openRepository(store, file, small);
  await byFile.removeKeySlot(first.id);
  await assert.rejects(openRepository(store, secret), { code: 'wrong-key' });
  assert.deepEqual(
    (await byFile.keySlots()).map(({ id }) => id),
    [added.id],
  );
});

test('what an unfinished init left does not keep a later one out, but a running one does', async () => {
  const store = memoryStore();
  await createRepository(store, { secret, kdfCost: { memoryKiB: 8192, passes: 1, lanes: 1 } });
  await store.delete('config');
  await assert.rejects(createRepository(store, { secret }), { code: 'exists', message: /five minutes/ });
  const later = { ...systemClock, now: () => Date.now() + 6 * 60_000 };
  const repository = await createRepository(store, { secret, clock: later });
  assert.deepEqual((await repository.check({ readData: true })).faults, []);
  // keys of a repository that lost its config, but not its data, are never removed
  await store.putIfAbsent('packs/data/ab/cd', new Uint8Array(1));
  await store.delete('config');
  await assert.rejects(createRepository(store, { secret, clock: later }), { message: /other things/ });
});

test('a second repository is not made over the first', async () => {
  const { store } = await fresh();
  await assert.rejects(createRepository(store, { secret }), { code: 'exists' });
});
