/** Threads that were started ahead are taken first, and none stays behind. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { ThreadReserve } from './thread-reserve.ts';

test('gives what was started ahead, then new threads', async () => {
  const reserve = new ThreadReserve(1);
  const threads = [reserve.take(), reserve.take()];
  assert.notEqual(threads[0]?.threadId, threads[1]?.threadId);
  await reserve.close();
  for (const thread of threads) {
    assert.notEqual(thread.threadId, -1, 'what was taken goes on');
    await thread.terminate();
  }
});

test('ends what nobody took', async () => {
  const threads = () => readdirSync('/proc/self/task').length;
  const before = threads();
  const reserve = new ThreadReserve(3);
  assert.ok(threads() >= before + 3);
  await reserve.close();
  assert.equal(threads(), before);
});
