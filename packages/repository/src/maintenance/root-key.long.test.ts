/** A new root key: who still opens the repository, who does not, and what happens when its maker dies. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import { filterStore, type ObjectStore } from '@prima/storage';
import { putSigned } from '../context.ts';
import type { Secret } from '../contract.ts';
import { openKeySet } from '../crypto/key-set.ts';
import { parseKeySlot, unwrapSlot } from '../crypto/key-slot.ts';
import { newRecoveryWords } from '../crypto/recovery-words.ts';
import { blobType } from '../format/blob.ts';
import { backup, content, contextOf, fresh, keysOf, memoryTrust, open, secret } from '../keys-fixture.ts';
import { forgottenKey, markForgotten } from '../session/sessions.ts';

const file: Secret = { kind: 'keyfile', bytes: randomBytes(40) };
const auditor: Secret = { kind: 'keyfile', bytes: randomBytes(41) };
const paper: Secret = { kind: 'recovery', words: await newRecoveryWords() };

async function bench() {
  const trust = memoryTrust();
  const { store, repository } = await fresh(trust);
  await repository.addKeySlot(file, 'vault');
  await repository.addKeySlot(paper, 'safe');
  await repository.addKeySlot(auditor, 'auditor', { readOnly: true });
  const first = await backup(repository);
  const second = await backup(repository);
  return { store, repository, trust, saved: [first, second] };
}

type Saved = Awaited<ReturnType<typeof backup>>;

async function assertWhole(
  store: ObjectStore,
  saved: Saved[],
  how: Parameters<typeof open>[1],
): Promise<void> {
  const { repository, warnings } = await open(store, how);
  const there = (await repository.points()).map(({ id }) => id).sort();
  assert.deepEqual(there, saved.map(({ point }) => point.id).sort());
  for (const { point, bytes } of saved) assert.ok((await content(repository, point)).equals(bytes));
  assert.deepEqual(warnings, []);
}

test('slots go on whose secrets are given; the others are named, and go when that is meant', async () => {
  const { store, repository, trust, saved } = await bench();
  const before = await keysOf(store, '');
  const oldKeys = await Promise.all(
    (await keysOf(store, 'keys/')).map(async (key) => [key, await store.get(key)] as const),
  );
  const oldSlots = await repository.keySlots();
  const [vault] = oldSlots.filter(({ label }) => label === 'vault');
  await assert.rejects(repository.rotateRootKey([paper, auditor]), {
    code: 'refused',
    message: new RegExp(
      `would be lost.*: ${vault?.id} \\(keyfile, vault\\); nothing was done.*--drop-others`,
    ),
  });
  await assert.rejects(
    repository.rotateRootKey([{ kind: 'keyfile', bytes: randomBytes(8) }], { dropOthers: true }),
    {
      code: 'wrong-key',
      message: /the first of the other secrets \(keyfile\) opens no key slot/,
    },
  );
  assert.deepEqual(await keysOf(store, ''), before, 'nothing was done');

  const rotation = await repository.rotateRootKey([paper, auditor], { dropOthers: true });
  assert.deepEqual([rotation.keySet, rotation.epoch, rotation.left], [2, 2, []]);
  assert.deepEqual(rotation.dropped, [{ id: vault?.id, kind: 'keyfile', label: 'vault' }]);
  assert.deepEqual(
    rotation.slots.map(({ label, kind, access, before: id }) => [
      label,
      kind,
      access,
      oldSlots.find((old) => old.id === id)?.label,
    ]),
    [
      ['first', 'passphrase', 'full', 'first'],
      ['safe', 'recovery', 'full', 'safe'],
      ['auditor', 'keyfile', 'read', 'auditor'],
    ],
  );
  saved.push(await backup(repository)); // the open one goes on
  for (const key of [secret, paper]) {
    await assertWhole(store, saved, { with: key, trust });
    const { repository: opened } = await open(store, { with: key });
    saved.push(await backup(opened));
    assert.deepEqual((await opened.check({ readData: true })).faults, []);
  }
  await assertWhole(store, saved, { with: auditor });
  await assert.rejects(open(store, { with: file }), { code: 'wrong-key' });
  await repository.collect({});
  // the old slots, kept somewhere, open the old key set and not the new one
  const repositoryId = repository.id;
  for (const [key, bytes] of oldKeys) {
    const slot = parseKeySlot(Buffer.from(bytes).toString(), key);
    for (const one of [secret, file, paper]) {
      const opened = await unwrapSlot(slot, one, repositoryId);
      if (!opened) continue;
      const text = async (number: number) => Buffer.from(await store.get(`keyset/000${number}`)).toString();
      assert.ok(openKeySet(await text(1), opened, { number: 1, repositoryId }));
      assert.equal(openKeySet(await text(2), opened, { number: 2, repositoryId }), undefined);
    }
    await store.putIfAbsent(key, bytes);
  }
  await assert.rejects(open(store, { with: file }), {
    code: 'integrity',
    message: /root key was replaced without this slot/,
  });
  const { repository: opened } = await open(store);
  const { faults } = await opened.check({ readData: false });
  assert.deepEqual([...new Set(faults.map(({ kind }) => kind))], ['stale-key-slot']);
  const again = await opened.rotateRootKey([paper, auditor]); // takes them away, without asking
  assert.deepEqual([again.keySet, again.dropped, (await keysOf(store, 'keys/')).length], [3, [], 3]);
  await assertWhole(store, saved, { trust });
});

/** Recovery keys: they cost nothing to try. */
const spare: Secret = { kind: 'recovery', words: await newRecoveryWords() };
const reader: Secret = { kind: 'recovery', words: await newRecoveryWords() };
const papers: readonly [Secret, string][] = [
  [paper, 'safe'],
  [spare, 'spare'],
];

test('whoever dies at any write leaves a repository that opens as before, and can be gone on with', async () => {
  let isOver = false;
  for (let survives = 0; survives < 40; survives += 1) {
    const trust = memoryTrust();
    const { store, repository: made } = await fresh(trust);
    for (const [other, label] of papers) await made.addKeySlot(other, label);
    await made.addKeySlot(reader, 'reader', { readOnly: true });
    const saved = [await backup(made)];
    let left = survives;
    const spend = () => {
      if (left === 0) throw new PrimaError('io', 'the process died');
      left -= 1;
    };
    const dying = filterStore(store, {
      putIfAbsent: async (key, body) => {
        spend();
        return await store.putIfAbsent(key, body);
      },
      delete: async (key) => {
        spend();
        await store.delete(key);
      },
    });
    const { repository } = await open(dying, { trust, with: paper });
    isOver = await repository.rotateRootKey([spare, reader, secret]).then(
      () => true,
      (error: unknown) => {
        assert.match(String(error), /the process died/);
        return false;
      },
    );
    for (const key of [paper, spare, reader]) await assertWhole(store, saved, { with: key, trust });
    const { repository: next } = await open(store, { with: spare, trust });
    saved.push(await backup(next)); // it may have to say who signs from now on
    await next.collect({});
    const odd = (await next.check({ readData: true })).faults.map(({ kind }) => kind);
    assert.ok(
      odd.every((kind) => /^(?:stale|forged)-key-slot$/.test(kind)),
      odd.join(),
    );
    await next.rotateRootKey([paper, reader, secret]);
    assert.deepEqual((await next.check({ readData: true })).faults, []);
    for (const key of [paper, spare, reader]) await assertWhole(store, saved, { with: key, trust });
    assert.equal((await keysOf(store, 'keys/')).length, 4);
    if (isOver) {
      await assertWhole(store, saved, { trust });
      assert.ok(survives >= 10, `${survives} writes`);
      return;
    }
  }
  assert.fail('it never ended');
});

test('beside others: it waits for no backup, and what it overtakes fails at its commit', async () => {
  const { store, repository, saved } = await bench();
  const { repository: writer } = await open(store);
  const session = await writer.beginBackup();
  await assert.rejects(repository.rotateRootKey([], { dropOthers: true }), {
    code: 'busy',
    message: /a backup is running/,
  });
  const marker = `sessions/${session.id}/marker`;
  const bytes = await store.get(marker);
  await store.delete(marker); // as if it had begun a moment later
  await repository.rotateRootKey([], { dropOthers: true });
  await store.putIfAbsent(marker, bytes);
  const [first] = saved;
  assert.ok(first);
  const { id: _id, ...point } = first.point;
  await assert.rejects(session.commit(point), { code: 'wrong-key', message: /root key .* was replaced/ });
  await session.abort('overtaken');
  await assert.rejects(writer.forget(first.point), { code: 'wrong-key' });
  await assert.rejects(writer.rotateKeys(), { code: 'wrong-key' });
  await assertWhole(store, saved, {});
  const { repository: second } = await open(store);
  const both = await Promise.allSettled([second.rotateRootKey([]), repository.rotateRootKey([])]);
  const failed = both.flatMap((one) => (one.status === 'rejected' ? [one.reason as PrimaError] : []));
  assert.ok(
    failed.length <= 1 && failed.every(({ code }) => code === 'busy' || code === 'wrong-key'),
    String(failed),
  );
  await assertWhole(store, saved, {});
});

test('what an old signing key makes is not believed', async () => {
  const { store, repository, trust, saved } = await bench();
  const [victim] = saved;
  assert.ok(victim);
  const thief = await contextOf(store, secret); // who has the old root key in memory
  await repository.rotateRootKey([], { dropOthers: true });
  await assert.rejects(thief.log.append({ event: 'forgotten', session: victim.point.id, outcome: '' }), {
    code: /wrong-key|refused/,
  });
  await markForgotten(thief, victim.point.id);
  const { repository: opened } = await open(store, { trust });
  assert.deepEqual(
    (await opened.check({ readData: false })).faults.map(({ kind }) => kind),
    ['forged-forget'],
  );
  await opened.collect({ maxDeleteShare: 1 }); // the mark is ignored
  await store.delete(forgottenKey(victim.point.id));
  await assertWhole(store, saved, { trust });

  const forged = 'a'.repeat(32);
  const record = {
    session: forged,
    state: 'committed',
    kind: 'backup',
    time: '',
    point: { ...victim.point, id: forged },
  };
  await putSigned(thief, `sessions/${forged}/outcome`, blobType.outcome, record);
  const { repository: other } = await open(store, { trust });
  assert.deepEqual(
    (await other.check({ readData: false })).faults.map(({ kind }) => kind),
    ['unlogged-point'],
  );
  await other.collect({ maxDeleteShare: 1 });
  const context = await contextOf(store, secret);
  const { entries } = await context.log.readAll();
  assert.ok(
    entries.every(({ session }) => session !== forged),
    'a collection does not log it',
  );
  // it may be of a backup that was overtaken: then a person takes it in
  const { steps } = await other.repair({ apply: true });
  assert.deepEqual(
    steps.map(({ point }) => point?.id),
    [forged],
  );
  assert.deepEqual((await other.check({ readData: false })).faults, []);
});

test('there has to be room for old and new slots', async () => {
  const { store, repository } = await bench();
  for (let i = 0; i < 60; i += 1) {
    const other: Secret = { kind: 'recovery', words: await newRecoveryWords() };
    await repository.addKeySlot(other, `paper ${i}`);
  }
  await assert.rejects(repository.rotateRootKey([], { dropOthers: true }), {
    code: 'refused',
    message: /remove some first/,
  });
  assert.equal((await keysOf(store, 'keys/')).length, 64);
});
