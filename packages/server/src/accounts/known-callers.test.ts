import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '@prima/base';
import { KnownCallers } from './known-callers.ts';
import type { Caller } from './sessions.ts';

const caller = (name: string): Caller => ({
  kind: 'token',
  account: name,
  name,
  organisation: 'main',
  roles: ['viewer'],
  isProvider: false,
});

function lab() {
  const time = { now: 0 };
  const known = new KnownCallers({ ...systemClock, monotonic: () => time.now });
  const asked: string[] = [];
  const get = (hash: string) =>
    known.get(hash, async () => {
      asked.push(hash);
      return hash === 'nobody' ? undefined : caller(hash);
    });
  return { time, known, asked, get };
}

test('a caller is looked for once a second', async () => {
  const { time, asked, get } = lab();
  for (const now of [0, 1, 999, 1000, 1500]) {
    time.now = now;
    assert.equal((await get('a'))?.name, 'a');
  }
  assert.deepEqual(asked, ['a', 'a']);
});

test('nobody is looked for each time', async () => {
  const { asked, get } = lab();
  await get('nobody');
  await get('nobody');
  assert.equal(asked.length, 2);
});

test('a change counts at once, for who is being looked for, too', async () => {
  const { known, asked, get } = lab();
  await get('a');
  known.forget();
  const begun = get('a');
  known.forget();
  await begun;
  await get('a');
  assert.deepEqual(asked, ['a', 'a', 'a']);
});

test('only so many are known', async () => {
  const { asked, get } = lab();
  for (let index = 0; index <= 1000; index += 1) await get(`${index}`);
  await get('0');
  assert.equal(asked.length, 1002);
  await get('1000');
  assert.equal(asked.length, 1002);
});
