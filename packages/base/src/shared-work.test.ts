import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SharedWork, unlessAborted } from './shared-work.ts';

const forever = () => new Promise<never>(() => undefined);

test('who is cancelled leaves at once, the others get the result', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const work = new SharedWork(() => promise);
  const stop = new AbortController();
  const cancelled = work.wait('reading a', stop.signal);
  const other = work.wait('reading a', new AbortController().signal);
  stop.abort();
  await assert.rejects(cancelled, { code: 'cancelled', message: /reading a/ });
  assert.equal(work.isAbandoned, false);
  resolve(7);
  assert.deepEqual([await other, await work.wait('reading a')], [7, 7]);
});

test('when all are cancelled the work is, too', async () => {
  let signal: AbortSignal | undefined;
  const work = new SharedWork((given) => {
    signal = given;
    return forever();
  });
  const stops = [new AbortController(), new AbortController()];
  const waiting = stops.map((stop) => work.wait('reading a', stop.signal));
  stops[0]?.abort();
  await assert.rejects(waiting[0] ?? forever(), { code: 'cancelled' });
  assert.equal(signal?.aborted, false);
  stops[1]?.abort();
  await assert.rejects(waiting[1] ?? forever(), { code: 'cancelled' });
  assert.deepEqual([signal?.aborted, work.isAbandoned], [true, true]);
});

test('what has ended is not abandoned, and what fails is raised to all', async () => {
  const work = new SharedWork(async () => {
    throw new Error('no');
  });
  await assert.rejects(work.wait('reading a'), /no/);
  const aborted = AbortSignal.abort();
  await assert.rejects(work.wait('reading a', aborted), { code: 'cancelled' });
  assert.equal(work.isAbandoned, false);
  await assert.rejects(unlessAborted(forever(), 'reading a', aborted), { code: 'cancelled' });
});
