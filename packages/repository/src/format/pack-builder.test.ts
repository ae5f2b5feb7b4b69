import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB } from '@prima/base';
import { blobId, Opener, Sealer, type SealingKeys } from '../crypto/sealer.ts';
import { verifyPack } from '../pool/verify-pack.ts';
import { blobType } from './blob.ts';
import { PackBuilder, packBufferBytes } from './pack-builder.ts';

const keys: SealingKeys = {
  repositoryId: Buffer.alloc(16, 1),
  idKey: Buffer.alloc(32, 2),
  epochs: [{ epoch: 1, key: Buffer.alloc(32, 3) }],
  epoch: 1,
  level: 1,
};

test('a blob that does not pass inspection does not belong to the pack', () => {
  const limit = 1024 * KiB;
  const sealer = new Sealer(keys);
  const blob = (value: number) => {
    const plain = Buffer.alloc(10 * KiB, value);
    return { type: blobType.chunk, id: blobId(keys, blobType.chunk, plain), plain };
  };
  const memory = Buffer.alloc(packBufferBytes(limit, 64 * KiB));
  const kept = new PackBuilder(memory, limit);
  for (const [value, isBad] of [
    [1, false],
    [2, true],
    [3, false],
  ] as const) {
    const inspect = () => {
      if (isBad) throw new Error('it does not read back');
    };
    const add = () => kept.add(blob(value), sealer, inspect);
    if (isBad) assert.throws(add, /read back/);
    else add();
  }
  const { name, size, entries } = kept.finish();
  assert.deepEqual(
    entries.map(({ id }) => Buffer.from(id).toString('hex')),
    [1, 3].map((value) => blob(value).id.toString('hex')),
  );
  const opener = new Opener(keys);
  assert.equal(verifyPack(opener, memory.subarray(0, size), { name, where: 'the pack' }), undefined);
});
