import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB } from '@prima/base';
import { memoryStore } from '@prima/storage';
import { createRepository } from '../repository.ts';
import { backup, diskOf, secret, small } from '../repository-fixture.ts';

/** Whoever sleeps wakes at once, and it is later. */
function skippingClock() {
  const clock = {
    time: 0,
    now: () => Date.UTC(2026, 0, 1) + clock.time,
    monotonic: () => clock.time,
    sleep: async (ms: number) => {
      clock.time += ms;
    },
  };
  return clock;
}

test('a session stores no faster than it is told to, and no other session minds', async () => {
  const clock = skippingClock();
  const repository = await createRepository(memoryStore(), {
    secret,
    ...small,
    clock,
    kdfCost: { memoryKiB: 8192, passes: 1, lanes: 1 },
  });
  const disk = () => diskOf(2 * MiB, [{ offset: 0, length: 2 * MiB }]);
  await backup(repository, await disk(), { storeRate: 100 * KiB });
  const seconds = clock.time / 1000;
  assert.ok(seconds > 20 && seconds < 22, `${seconds}`); // 2 MiB of noise at 100 KiB a second
  clock.time = 0;
  await backup(repository, await disk());
  assert.equal(clock.time, 0);
  await repository.close();
});
