/** The pool does the same with threads and without. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { KiB } from '@prima/base';
import type { SealingKeys } from '../crypto/sealer.ts';
import { blobType } from '../format/blob.ts';
import { type BuiltPack, ChunkPool } from './chunk-pool.ts';
import { ThreadReserve } from './thread-reserve.ts';

const chunkSize = 256 * KiB;

function newKeys(): SealingKeys {
  const epochs = [{ epoch: 1, key: randomBytes(32) }];
  return { repositoryId: randomBytes(16), idKey: randomBytes(32), epochs, epoch: 1, level: 1 };
}

for (const workers of [0, 1, 2]) {
  test(`chunks go into packs and come back, ${workers} threads`, async () => {
    const keys = newKeys();
    const packs: (BuiltPack & { copy: Uint8Array })[] = [];
    const pool = new ChunkPool({
      keys,
      chunkSize,
      workers,
      reserve: new ThreadReserve(),
      sealing: {
        packBytes: 2 * chunkSize,
        readBack: true,
        onPack: (pack) => {
          packs.push({ ...pack, copy: Uint8Array.from(pack.bytes) });
          pack.release();
        },
      },
    });
    const plains = Array.from({ length: 9 }, () => randomBytes(chunkSize));
    const ids: Uint8Array[] = [];
    for (const plain of plains) {
      const slot = await pool.slot();
      slot.bytes.set(plain);
      const chunk = { slot, offset: 0, length: chunkSize };
      const id = await pool.hash(chunk);
      assert.ok(id);
      ids.push(id);
      await pool.seal(chunk, id);
      slot.bytes.fill(0);
      assert.equal(await pool.hash(chunk), undefined, 'zeros have no id');
      slot.release();
    }
    await pool.flush();
    const slot = await pool.slot();
    const into = slot.bytes.subarray(0, chunkSize);
    let found = 0;
    for (const { copy, ids: packIds, places } of packs) {
      for (let i = 0; i * 32 < packIds.length; i += 1, found += 1) {
        const id = packIds.subarray(i * 32, i * 32 + 32);
        const plain = plains[ids.findIndex((other) => Buffer.compare(other, id) === 0)];
        const [offset = 0, length = 0] = places.subarray(i * 2, i * 2 + 2);
        const blob = Uint8Array.from(copy.subarray(offset, offset + length));
        await pool.open(blob, { type: blobType.chunk, id, into, where: 'here' });
        assert.ok(plain?.equals(into));
        const damaged = Uint8Array.from(copy.subarray(offset, offset + length));
        damaged[100] = (damaged[100] ?? 0) ^ 1;
        await assert.rejects(pool.open(damaged, { type: blobType.chunk, id, into, where: 'here' }), {
          code: 'integrity',
        });
      }
    }
    assert.equal(found, plains.length);
    slot.release();
    await pool.close();
    await assert.rejects(pool.slot(), { code: 'cancelled' });
  });
}

test('what cannot be sent to a thread is told to whoever waits', async () => {
  const pool = new ChunkPool({ keys: newKeys(), chunkSize, workers: 1, reserve: new ThreadReserve() });
  const blob = new Uint8Array(1000);
  const wanted = { type: blobType.chunk, id: new Uint8Array(32), into: new Uint8Array(10), where: 'here' };
  const twice = [pool.open(blob, wanted), pool.open(blob, wanted)]; // its memory can be given away once
  for (const job of twice) await assert.rejects(job, { code: 'internal' });
  await pool.close();
});
