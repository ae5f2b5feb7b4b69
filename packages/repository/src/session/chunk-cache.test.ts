import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { ChunkCache } from './chunk-cache.ts';

/** A cache of chunks whose bytes are all their number; counts fetches and the memories that were used. */
function numbered(limit: number) {
  const cache = new ChunkCache(4, limit, 2);
  const memories = new Set<ArrayBufferLike>();
  const state = { fetched: 0, atOnce: 0, mostAtOnce: 0 };
  const read = async (number: number, keep = true) => {
    let seen = -1;
    await cache.read(number * 4, {
      keep,
      fill: async (memory) => {
        memories.add(memory.buffer);
        state.fetched += 1;
        state.atOnce += 1;
        state.mostAtOnce = Math.max(state.mostAtOnce, state.atOnce);
        await turn();
        memory.fill(number);
        state.atOnce -= 1;
      },
      look: (memory) => (seen = memory[0] ?? -1),
    });
    return seen;
  };
  return { cache, read, memories, state };
}

test('chunks that are kept are fetched once, up to the limit; memory is used again', async () => {
  const { read, memories, state } = numbered(3);
  for (const number of [1, 2, 3, 1, 2, 3]) assert.equal(await read(number), number);
  assert.equal(state.fetched, 3);
  for (let number = 4; number < 50; number += 1) assert.equal(await read(number), number);
  assert.ok(memories.size <= 4, `${memories.size} pieces of memory for 3 chunks and one that is read`);
  assert.equal(await read(49), 49);
  assert.equal(state.fetched, 49);
});

test('readers at the same time share a fetch, see their own chunk, and are bounded', async () => {
  const { read, memories, state } = numbered(2);
  const numbers = Array.from({ length: 60 }, (_, i) => Math.floor(i / 3));
  const seen = await Promise.all(numbers.map((number, i) => read(number, i % 2 === 0)));
  assert.deepEqual(seen, numbers);
  assert.equal(state.fetched, 20);
  assert.equal(state.mostAtOnce, 2);
  assert.ok(memories.size <= 6, `${memories.size} pieces of memory for 2 fetches at once`);
});

test('what is not kept is gone after the last reader', async () => {
  const { read, memories, state } = numbered(8);
  for (let number = 0; number < 20; number += 1) await read(number, false);
  assert.equal(await read(19, false), 19);
  assert.equal(state.fetched, 21);
  assert.equal(memories.size, 1);
});

test('a failed fetch reaches all who wait, and the next reader tries again', async () => {
  const { cache, read, state } = numbered(8);
  const failing = { fill: () => Promise.reject(new Error('gone')), look: () => assert.fail(), keep: true };
  const both = await Promise.allSettled([cache.read(4, failing), cache.read(4, failing)]);
  assert.deepEqual(
    both.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  assert.equal(await read(1), 1);
  assert.equal(state.fetched, 1);
});
