/** A backup that is cancelled while only packs remain to be stored ends at once, and leaves nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { throwIfAborted } from '@prima/base';
import { filterStore, memoryStore, type ObjectStore } from '@prima/storage';
import { chunk, draftPoint, randomDisk, reopened } from '../damage/damage-fixture.ts';
import { createRepository } from '../repository.ts';

const secret = { kind: 'passphrase', text: 'correct horse' } as const;
const kdfCost = { memoryKiB: 8192, passes: 1, lanes: 1 };

/** Packs of data arrive, but no answer ever comes, until whoever waits gives up. */
function unanswering(inner: ObjectStore, onPut: () => void): ObjectStore {
  return filterStore(inner, {
    putIfAbsent: async (key, body, options = {}) => {
      const answer = await inner.putIfAbsent(key, body);
      if (!key.startsWith('packs/data/')) return answer;
      onPut();
      const { signal } = options;
      await new Promise<void>((resolve) => {
        signal?.addEventListener('abort', () => resolve());
      });
      throwIfAborted(signal, `storing ${key}`);
      return answer;
    },
  });
}

test('a commit ends when it is cancelled while a pack is being stored', async () => {
  const inner = memoryStore();
  await createRepository(inner, { secret, workers: 0, chunkSize: chunk, kdfCost });
  const puts = Promise.withResolvers<void>();
  const repository = await reopened(unanswering(inner, () => puts.resolve()));
  const stop = new AbortController();
  const session = await repository.beginBackup({ signal: stop.signal });
  const written = await session.writeDisk({
    name: 'disk0',
    device: await randomDisk(3),
    signal: stop.signal,
  });
  const committing = session.commit(draftPoint('m', written, { size: 3 * chunk }));
  await puts.promise;
  stop.abort();
  await assert.rejects(committing, { code: 'cancelled' });
  await session.abort('cancelled');

  assert.deepEqual(await repository.points(), []);
  const left: string[] = [];
  for await (const { key } of inner.list('packs/data/')) left.push(key);
  assert.deepEqual(left, [], 'the pack of which no answer came is taken back');
});

test('a backup that is cancelled when all is stored commits nothing', async () => {
  const inner = memoryStore();
  const repository = await createRepository(inner, { secret, workers: 0, chunkSize: chunk, kdfCost });
  const stop = new AbortController();
  const session = await repository.beginBackup({ signal: stop.signal });
  const written = await session.writeDisk({ name: 'disk0', device: await randomDisk(3) });
  stop.abort();
  await assert.rejects(session.commit(draftPoint('m', written, { size: 3 * chunk })), { code: 'cancelled' });
  await session.abort('cancelled');
  assert.deepEqual(await repository.points(), []);
});
