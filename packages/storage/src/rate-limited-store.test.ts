import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import { filterStore } from './filter-store.ts';
import { countingStore, memoryStore, rateLimitedStore } from './mod.ts';
import { VirtualClock } from './virtual-clock-fixture.ts';

test('bodies take their time, up and down apart, and nothing else does', async () => {
  const clock = new VirtualClock();
  const store = rateLimitedStore(memoryStore(), { upload: 100 * KiB, download: MiB, clock });
  await clock.run(Promise.all(['a', 'b', 'c'].map((key) => store.putIfAbsent(key, new Uint8Array(MiB)))));
  assert.ok(Math.abs(clock.time - 30_720) < 200, `${clock.time}`);
  clock.time = 0;
  await clock.run(store.get('a'));
  await clock.run(store.get('b', { offset: 5, length: MiB - 5 }));
  assert.ok(Math.abs(clock.time - 2000) < 200, `${clock.time}`);
  clock.time = 0;
  await store.stat('a');
  assert.equal((await Array.fromAsync(store.list(''))).length, 3);
  await store.delete('a');
  assert.equal(clock.time, 0);
});

test('a large read is cut in pieces and is whole again', async () => {
  const inner = countingStore(memoryStore());
  const clock = new VirtualClock();
  const store = rateLimitedStore(inner, { download: MiB, clock });
  const bytes = seededRandom(3).bytes(new Uint8Array(3 * MiB + 100));
  await store.putIfAbsent('packs/a', bytes);
  assert.deepEqual(await clock.run(store.get('packs/a')), Buffer.from(bytes));
  assert.equal(inner.counts.get, 4);
  await assert.rejects(clock.run(store.get('packs/a', { offset: MiB, length: 3 * MiB })), {
    code: 'integrity',
  });
  await assert.rejects(clock.run(store.get('packs/b')), { code: 'not-found' });
});

test('a store that paces is slowed piece by piece, and the caller may pace, too', async () => {
  const clock = new VirtualClock();
  const inner = memoryStore();
  const times: number[] = [];
  const paced = filterStore(inner, {
    paces: true,
    putIfAbsent: async (key, body, options) => {
      for (let piece = 0; piece < 4; piece += 1) {
        await options?.pace?.(256 * KiB);
        times.push(Math.round(clock.time / 100));
      }
      return inner.putIfAbsent(key, body, options);
    },
  });
  const store = rateLimitedStore(paced, { upload: MiB, clock });
  let own = 0;
  const pace = async (bytes: number) => void (own += bytes);
  await clock.run(store.putIfAbsent('a', new Uint8Array(MiB), { pace }));
  assert.deepEqual(times, [2, 4, 7, 9]);
  assert.equal(own, MiB);
});

test('waiting for the limit can be cancelled, and what was not used is given back', async () => {
  const store = rateLimitedStore(memoryStore(), { upload: 1 });
  const stop = new AbortController();
  const waiting = store.putIfAbsent('a', new Uint8Array(1000), { signal: stop.signal });
  stop.abort();
  await assert.rejects(waiting, { code: 'cancelled' });
  assert.equal(await store.stat('a'), undefined);
});
