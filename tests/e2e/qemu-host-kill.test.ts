/** A backup that is killed at any moment leaves a machine that runs as if it had never been. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram, seededRandom, systemClock } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { waitUntil } from '@prima/testbed';
import {
  assertUntouched,
  createGuest,
  inRun,
  shell,
  startGuest,
  type TestHost,
  testHost,
} from './qemu-host-fixture.ts';
import { childOf, kill, startProgram } from './reader-process.ts';

const rounds = 10;

test('killed backups leave nothing behind', async (t) => {
  const host = await testHost(t);
  const machine = await startGuest(host, await createGuest(host, 'mail01'));
  const seed = Number(process.env.PRIMA_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  const bootId = await shell(machine, 'cat /proc/sys/kernel/random/boot_id');

  for (let round = 0; round < rounds; round += 1) {
    const mode = round % 3 === 2 ? 'warm' : 'hot';
    const delayMs = random.below(1500);
    await t.test(`${mode}, ${delayMs} ms after it began (seed ${seed}, round ${round})`, async () => {
      const reader = await startReader(host, mode);
      await systemClock.sleep(delayMs);
      await kill(reader);
      await guardianDone(machine);
      await assertUntouched(machine, 2);
      assert.equal(await shell(machine, 'cat /proc/sys/kernel/random/boot_id'), bootId);
    });
  }

  await t.test('its guardian killed as well: the host recovers', async () => {
    const reader = await startReader(host, 'hot', 'reading');
    const guardian = await childOf(reader, '');
    process.kill(guardian, 'SIGKILL');
    await kill(reader);
    await waitUntil(async () => (await lockIsFree(machine)) || false, { what: 'the lock to be free' });
    const recovered = await host.platform.recover();
    assert.equal(recovered.length, 1);
    assert.deepEqual(recovered[0]?.left, []);
    await assertUntouched(machine, 2);
    assert.deepEqual(await host.platform.recover(), []);
  });

  await t.test('the next backup works and clears what was kept', async () => {
    const reading = await host.platform.openForBackup(machine, { mode: 'hot', owner: 'one' });
    await reading.succeed();
    await reading.close();
    await assertUntouched(machine, 1);
  });
});

function startReader(host: TestHost, mode: string, until = 'opening'): Promise<ChildProcess> {
  const script = join(import.meta.dirname, 'qemu-host-reader.ts');
  return startProgram(script, [host.root, 'mail01', mode], until);
}

/** Guardians keep the lock until they have undone everything. */
async function guardianDone(machine: Machine): Promise<void> {
  await waitUntil(() => lockIsFree(machine), { what: 'the guardian to be done', timeoutMs: 60_000 });
}

async function lockIsFree(machine: Machine): Promise<boolean> {
  const path = inRun(machine, 'lock');
  const { status } = await runProgram('flock', ['-n', '-E', '75', path, 'true'], { accept: [0, 75, 66] });
  return status !== 75;
}
