import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestGate } from './request-gate.ts';

test('requests are let in by count and bytes, in order, a large one alone', async () => {
  const gate = new RequestGate({ count: 3, bytes: 100 });
  const entered: number[] = [];
  const leave = new Map<number, () => void>();
  const enter = async (bytes: number) => {
    const free = await gate.enter(bytes);
    entered.push(bytes);
    leave.set(bytes, free);
  };
  const all = Promise.all([60, 30, 500, 5, 6, 7, 8].map(enter));
  const settled = async () => await new Promise(setImmediate);
  await settled();
  assert.deepEqual(entered, [60, 30]);
  leave.get(60)?.();
  await settled();
  assert.deepEqual(entered, [60, 30]);
  leave.get(30)?.();
  await settled();
  assert.deepEqual(entered, [60, 30, 500]);
  leave.get(500)?.();
  await settled();
  assert.deepEqual(entered, [60, 30, 500, 5, 6, 7]);
  leave.get(6)?.();
  await all;
  assert.equal(entered.at(-1), 8);
});

test('one that waits can be cancelled; those behind it move up', async () => {
  const gate = new RequestGate({ count: 2, bytes: 100 });
  const leave = await gate.enter(60);
  const controller = new AbortController();
  const large = assert.rejects(gate.enter(100, controller.signal), { code: 'cancelled' });
  const small = gate.enter(10);
  controller.abort();
  await large;
  (await small)();
  leave();
  (await gate.enter(100))();
});
