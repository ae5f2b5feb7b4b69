/** Key slots, key sets and their rotation, with somebody in between who may do anything to the store. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { PrimaError } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import { newRecoveryWords } from './crypto/recovery-words.ts';
import { backup, content, fresh, keysOf, memoryTrust, open, replace, secret } from './keys-fixture.ts';

const other = { kind: 'keyfile', bytes: randomBytes(40) } as const;

async function slotsAndMembers(store: ObjectStore) {
  const keys = await keysOf(store, 'keys/');
  return await Promise.all(
    keys.map(async (key) => {
      const text = Buffer.from(await store.get(key)).toString();
      return { key, text, members: JSON.parse(text) as Record<string, unknown> };
    }),
  );
}

test('a rotation gives what is written from then on another data key, and everything stays readable', async () => {
  const { store, repository } = await fresh();
  await repository.addKeySlot(other, 'file');
  const early = await open(store);
  const first = await backup(repository);
  assert.ok((await content(early.repository, first.point)).equals(first.bytes)); // its workers run from here on

  assert.deepEqual(await repository.rotateKeys(), { keySet: 2, epoch: 2 });
  const second = await backup(repository);
  const outcome = await store.get(`sessions/${second.point.id}/outcome`);
  assert.equal(Buffer.from(outcome).readUInt32LE(8), 2);
  const { repository: late } = await open(store, { with: other });
  for (const reader of [early.repository, late, repository]) {
    for (const { point, bytes } of [first, second]) {
      assert.ok((await content(reader, point)).equals(bytes));
    }
    assert.deepEqual((await reader.check({ readData: true })).faults, []);
  }
  // whoever was open before writes with the new key, too
  const third = await backup(early.repository);
  const marker = await store.get(`sessions/${third.point.id}/outcome`);
  assert.equal(Buffer.from(marker).readUInt32LE(8), 2);
});

test('a backup that runs during a rotation is committed and readable', async () => {
  const { store, repository } = await fresh();
  const { point } = await backup(repository);
  const { id: _id, ...rest } = point;
  const session = await repository.beginBackup();
  const { repository: rotator } = await open(store);
  await rotator.rotateKeys();
  await rotator.rotateKeys();
  const late = await session.commit({ ...rest, disks: point.disks });
  const { repository: reader } = await open(store);
  assert.equal((await reader.points()).length, 2);
  assert.ok((await content(reader, late)).equals(await content(reader, point)));
  assert.deepEqual((await reader.check({ readData: true })).faults, []);
});

test('two rotations at once: one of them happens', async () => {
  const { store, repository } = await fresh();
  const { repository: second } = await open(store);
  const results = await Promise.allSettled([repository.rotateKeys(), second.rotateKeys()]);
  const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  assert.ok(
    failed.length <= 1 && failed.every((error) => error instanceof PrimaError && error.code === 'busy'),
  );
  assert.equal((await keysOf(store, 'keyset/')).length, 3 - failed.length);
});

test('passphrase, key file and recovery key open it; each is told from the others', async () => {
  const { store, repository } = await fresh();
  const words = await newRecoveryWords();
  const recovery = { kind: 'recovery', words } as const;
  await assert.rejects(open(store, { with: recovery }), {
    code: 'wrong-key',
    message: /this recovery key opens none of the 1 key slots .* only slots for a passphrase/,
  });
  await repository.addKeySlot(recovery, 'paper');
  await repository.addKeySlot(other, 'file');
  const { point, bytes } = await backup(repository);
  for (const key of [secret, other, recovery, { ...recovery, words: words.toUpperCase() }]) {
    const { repository: opened } = await open(store, { with: key });
    assert.ok((await content(opened, point)).equals(bytes));
  }
  await assert.rejects(open(store, { with: { ...recovery, words: await newRecoveryWords() } }), {
    code: 'wrong-key',
  });
  await assert.rejects(open(store, { with: { ...recovery, words: words.replace(/^\w+/, 'nonsense') } }), {
    code: 'usage',
    message: /word 1 /,
  });
  const kinds = (await repository.keySlots()).map(({ kind }) => kind);
  assert.deepEqual(kinds.sort(), ['keyfile', 'passphrase', 'recovery']);
});

test('when only recovery keys are left, it is said', async () => {
  const { store, repository } = await fresh();
  const recovery = { kind: 'recovery', words: await newRecoveryWords() } as const;
  await repository.addKeySlot(recovery, 'paper');
  const { repository: opened, warnings } = await open(store, { with: recovery });
  const [passphrase] = (await opened.keySlots()).filter(({ kind }) => kind === 'passphrase');
  await opened.removeKeySlot(passphrase?.id ?? '');
  assert.match(warnings.join(), /only recovery keys open the repository now/);
});

test('a key that only reads, reads', async () => {
  const { store, repository } = await fresh();
  const { point, bytes } = await backup(repository);
  await repository.addKeySlot(other, 'auditor', { readOnly: true });
  const { repository: reader } = await open(store, { with: other });
  assert.ok((await content(reader, point)).equals(bytes));
  assert.deepEqual((await reader.check({ readData: true })).faults, []);
  const { id: own = '' } = (await reader.keySlots()).find(({ access }) => access === 'read') ?? {};
  const sessions = await keysOf(store, 'sessions/');
  const refused = [
    reader.beginBackup(),
    reader.lock(point, Date.now() + 60_000),
    reader.forget(point),
    reader.addKeySlot(other, 'more'),
    reader.removeKeySlot(own, { force: true }),
    reader.rotateKeys(),
    reader.collect({}),
  ];
  for (const result of await Promise.allSettled(refused)) {
    assert.ok(result.status === 'rejected');
    assert.match(String(result.reason), /may only read/);
  }
  assert.deepEqual(await keysOf(store, 'sessions/'), sessions); // nothing that others would wait for
  // it goes on to read after a rotation; it is not enough to be left as the only key
  await repository.rotateKeys();
  const second = await backup(repository);
  assert.ok((await content(reader, second.point)).equals(second.bytes));
  const [full] = (await repository.keySlots()).filter(({ access }) => access === 'full');
  await assert.rejects(repository.removeKeySlot(full?.id ?? '', { force: true }), { code: 'refused' });
});

test('slots that were swapped, weakened or given another kind do not open', async () => {
  const { store, repository } = await fresh();
  await repository.addKeySlot({ kind: 'passphrase', text: 'second' }, 'second');
  const [a, b] = await slotsAndMembers(store);
  assert.ok(a && b);
  const own = a.members['label'] === 'first' ? a : b;
  const second = own === a ? b : a;
  const attempt = async (members: Record<string, unknown>, error: object) => {
    await replace(store, own.key, JSON.stringify(members));
    await assert.rejects(open(store), error);
    await open(store, { with: { kind: 'passphrase', text: 'second' } }); // the other slot does not suffer
    await replace(store, own.key, own.text);
  };
  const kdf = own.members['kdf'] as Record<string, unknown>;
  await attempt({ ...second.members, id: own.members['id'] }, { code: 'wrong-key' });
  await attempt({ ...own.members, kdf: { ...kdf, passes: 2 } }, { code: 'wrong-key' });
  await attempt({ ...own.members, kdf: { ...kdf, memoryKiB: 1024 } }, { code: 'wrong-key' });
  await attempt({ ...own.members, kdf: { name: 'hkdf-sha256', salt: kdf['salt'] } }, { code: 'wrong-key' });
  await attempt({ ...own.members, access: 'read' }, { code: 'wrong-key' });
  await replace(store, own.key, second.text);
  await assert.rejects(open(store), { code: 'wrong-key', message: /1 more cannot be read/ });
});

test('a slot under another name, or made by somebody without the root key, is reported', async () => {
  const { store, repository } = await fresh();
  const [own] = await slotsAndMembers(store);
  assert.ok(own);
  await replace(store, own.key, own.text.replace('"first"', '"old"'));
  const { repository: opened, warnings } = await open(store);
  assert.match(warnings.join(), /was changed, or made, by somebody who may not/);
  const { faults } = await opened.check({ readData: false });
  assert.deepEqual(
    faults.map(({ kind, object }) => [kind, object]),
    [['forged-key-slot', own.key]],
  );
  await replace(store, own.key, own.text);
  await store.putIfAbsent('keys/0011223344556677', Buffer.from('{}'));
  const damaged = await repository.check({ readData: false });
  assert.deepEqual(
    damaged.faults.map(({ kind }) => kind),
    ['damaged-key-slot'],
  );
  await repository.removeKeySlot('0011'); // and can be removed
  assert.deepEqual((await repository.check({ readData: false })).faults, []);
});

test('key sets that are missing, swapped or damaged are integrity errors', async () => {
  const { store, repository } = await fresh();
  await repository.rotateKeys();
  const first = await store.get('keyset/0001');
  const second = await store.get('keyset/0002');
  await store.delete('keyset/0001');
  await assert.rejects(open(store), {
    code: 'integrity',
    message: /keyset\/0002 where keyset\/0001 should be/,
  });
  await store.putIfAbsent('keyset/0001', first);
  await replace(store, 'keyset/0002', first);
  await assert.rejects(open(store), { code: 'integrity' });
  const text = Buffer.from(second).toString();
  await replace(
    store,
    'keyset/0002',
    text.replace(/("keys":"..)./, (_, start: string) => `${start}x`),
  );
  await assert.rejects(open(store), { code: 'integrity' });
  await replace(store, 'keyset/0002', text.replace('}', ' }'));
  await assert.rejects(open(store), { code: 'integrity', message: /was not signed/ });
  await replace(store, 'keyset/0002', second);
  await open(store);
});

test('an old key set that was brought back: nothing is written under the old key', async () => {
  const trust = memoryTrust();
  const { store, repository } = await fresh(trust);
  const { point } = await backup(repository);
  await repository.rotateKeys();
  const second = await backup(repository);
  await store.delete('keyset/0002');
  const { repository: opened, warnings } = await open(store, { trust });
  const fault = /newest key set is number 1, this computer has seen number 2/;
  await assert.rejects(opened.beginBackup(), { code: 'refused', message: fault });
  await assert.rejects(opened.forget(point), { code: 'refused', message: fault });
  await assert.rejects(opened.collect({}), { code: /integrity|refused|wrong-key/ });
  await assert.rejects(opened.rotateKeys(), { code: 'refused', message: fault });
  await assert.rejects(opened.addKeySlot(other, 'x'), { code: 'refused', message: fault });
  // what was written under the newer key is not damaged: it must not be taken for that, and mended away
  await assert.rejects(content(opened, second.point), {
    code: 'wrong-key',
    message: /newer key sets are missing/,
  });
  assert.deepEqual(await keysOf(store, 'damaged/'), []);
  assert.deepEqual(warnings, []);
});
