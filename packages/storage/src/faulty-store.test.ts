import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import { countingStore, faultyStore, memoryStore, type StoreFault } from './mod.ts';

test('a faulty store does to a call what it is told', async () => {
  const inner = countingStore(memoryStore());
  let next: StoreFault | undefined;
  const store = faultyStore(inner, { random: seededRandom(1), faultAt: () => next });
  const during = async <T>(fault: StoreFault, task: () => Promise<T>) => {
    next = fault;
    return task().finally(() => (next = undefined));
  };
  const body = Buffer.from('hello');
  await assert.rejects(
    during('fail', () => store.putIfAbsent('a', body)),
    { code: 'io', retryable: true },
  );
  assert.equal(inner.counts.put, 0);
  await assert.rejects(
    during('lost-answer', () => store.putIfAbsent('a', body)),
    { code: 'io', retryable: true },
  );
  assert.equal(await store.putIfAbsent('a', body), 'exists');
  assert.deepEqual(await during('truncate', () => store.get('a')), Uint8Array.from(body.subarray(0, 4)));
  assert.notDeepEqual(await during('corrupt', () => store.get('a')), Uint8Array.from(body));
  assert.deepEqual(await store.get('a'), Uint8Array.from(body));
  await assert.rejects(
    during('hide', () => store.get('a')),
    { code: 'not-found' },
  );
  assert.equal(await during('hide', () => store.stat('a')), undefined);
  assert.deepEqual(await during('hide', () => Array.fromAsync(store.list(''))), []);
  await assert.rejects(
    during('lost-answer', () => store.delete('a')),
    { code: 'io' },
  );
  assert.deepEqual(await Array.fromAsync(store.list('')), []);
  assert.deepEqual(inner.counts, {
    put: 2,
    get: 4,
    stat: 1,
    list: 2,
    delete: 1,
    bytesStored: 5,
    bytesRead: 20,
  });
});

test('the error rate is kept, and the same seed gives the same faults', async () => {
  const outcomes = async (seed: number) => {
    const store = faultyStore(memoryStore(), { random: seededRandom(seed), errorRate: 0.25 });
    const settled = Array.from({ length: 400 }, (_, index) => store.stat(`k${index}`));
    return (await Promise.allSettled(settled)).map((result) => result.status);
  };
  const first = await outcomes(7);
  const failed = first.filter((status) => status === 'rejected').length;
  assert.ok(failed > 60 && failed < 140, `${failed} of 400 failed`);
  assert.deepEqual(await outcomes(7), first);
});
