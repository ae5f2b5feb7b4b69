import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '@prima/base';
import type { Context } from '../context.ts';
import { startBeats } from './sessions.ts';

test('signs of life end with their session: who stops them waits for the one that is under way', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const stored: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  let isCancelled = false;
  const store = {
    putIfAbsent: async (key: string, _body: Uint8Array, { signal }: { signal: AbortSignal }) => {
      signal.addEventListener('abort', () => (isCancelled = true));
      await promise;
      stored.push(key);
      return 'created';
    },
  };
  const stop = startBeats({ store, logger: silentLogger } as unknown as Context, 'a');
  t.mock.timers.tick(2 * 15 * 60_000);
  let isStopped = false;
  const stopping = stop().then(() => (isStopped = true));
  await new Promise((done) => setImmediate(done));
  assert.deepEqual([isStopped, isCancelled, stored], [false, true, []]);
  resolve();
  await stopping;
  assert.deepEqual(stored, ['sessions/a/beat-1', 'sessions/a/beat-2']);
  t.mock.timers.tick(60 * 60_000);
  await new Promise((done) => setImmediate(done));
  assert.equal(stored.length, 2);
});
