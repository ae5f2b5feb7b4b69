/** A session that could not store what it has counted as stored never commits. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { KiB, seededRandom } from '@prima/base';
import { faultyStore, memoryStore } from '@prima/storage';
import { createRepository, openRepository } from '../repository.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const small = { workers: 0, packBytes: 16 * KiB };

async function failingOnce() {
  const store = memoryStore();
  const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };
  await createRepository(store, { secret, chunkSize: 256 * KiB, kdfCost, ...small });
  let failures = 0;
  const failing = faultyStore(store, {
    random: seededRandom(1),
    faultAt: ({ operation, key }) => {
      if (operation !== 'put' || !key.startsWith('packs/meta') || failures > 0) return undefined;
      failures += 1;
      return 'fail';
    },
  });
  return { store, repository: await openRepository(failing, secret, small) };
}

const draft = {
  machine: { id: 'm', name: 'm' },
  time: '2026-01-01T00:00:00.000Z',
  started: '2026-01-01T00:00:00.000Z',
  finished: '2026-01-01T00:00:00.000Z',
  mode: 'cold' as const,
  quiesced: false,
  disks: [],
  skipped: [],
  tags: [],
  notes: [],
  warnings: [],
};

test('files of which the pack could not be stored are in no point, though they are written again', async () => {
  const { store, repository } = await failingOnce();
  const session = await repository.beginBackup();
  const [one, two] = [randomBytes(20 * KiB), randomBytes(20 * KiB)];
  const first = await session.writeFile('one', one);
  await assert.rejects(session.writeFile('two', two), { code: 'io' });
  await assert.rejects(session.writeFile('two', two), { code: 'io' });
  await assert.rejects(session.commit({ ...draft, files: [first] }), { code: 'io' });
  await session.abort('the store failed');
  assert.deepEqual(await (await openRepository(store, secret, small)).points(), []);
});

test('a commit that failed while it stored the last pack is not made by trying again', async () => {
  const { store, repository } = await failingOnce();
  const session = await repository.beginBackup();
  const file = await session.writeFile('one', randomBytes(KiB));
  await assert.rejects(session.commit({ ...draft, files: [file] }), { code: 'io' });
  await assert.rejects(session.commit({ ...draft, files: [file] }), { code: 'io' });
  await session.abort('the store failed');
  assert.deepEqual(await (await openRepository(store, secret, small)).points(), []);
});
