/** Who adds and merges redo logs of a running machine is killed at any moment, QEMU as well: no record is lost. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { seededRandom, systemClock, toPrimaError } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { findMachineProcess } from '@prima/qemu';
import { verifyRecords, waitUntil } from '@prima/testbed';
import {
  assertUntouched,
  createGuest,
  shell,
  startGuest,
  type TestHost,
  testHost,
  withAgent,
} from './qemu-host-fixture.ts';
import { kill, startProgram } from './reader-process.ts';

const rounds = 8;

test('redo logs survive whoever is killed', async (t) => {
  const host = await testHost(t);
  const { platform } = host;
  const redo = platform.redo ?? assert.fail('the host has redo logs');
  let machine = await startGuest(host, await createGuest(host, 'mail01'));
  const seed = Number(process.env.PRIMA_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  const bootId = await shell(machine, 'cat /proc/sys/kernel/random/boot_id');

  for (let round = 0; round < rounds; round += 1) {
    const delayMs = random.below(4000);
    await t.test(`Prima, ${delayMs} ms after it began (seed ${seed}, round ${round})`, async () => {
      await killed(await startReader(host), delayMs);
      await settled(host, machine);
      assert.equal(await shell(machine, 'cat /proc/sys/kernel/random/boot_id'), bootId);
      await assertUntouched(machine, 0);
    });
  }

  await t.test('all that the guest wrote is there, and the logs can be merged', async () => {
    await assertRecords(machine);
    machine = await platform.find('mail01');
    while ((machine.disks[0]?.logs ?? machine.disks[1]?.logs) !== undefined) {
      await redo.commit(machine);
      machine = await platform.find('mail01');
    }
    await assertRecords(machine);
    assert.deepEqual(await logFiles(machine), []);
  });

  for (let round = 0; round < 3; round += 1) {
    const delayMs = random.below(3000);
    await t.test(`QEMU and Prima, ${delayMs} ms after it began (seed ${seed}, round ${round})`, async () => {
      await shell(machine, `echo ${round} > /data/mark; sync`);
      const reader = await startReader(host);
      await systemClock.sleep(delayMs);
      const qemu = (await findMachineProcess(join(machine.folder ?? '', '.run'))) ?? assert.fail('QEMU runs');
      process.kill(qemu.identity.pid, 'SIGKILL');
      await killed(reader, 0);
      await waitUntil(() => starts(host, machine), {
        what: 'the machine to start',
        timeoutMs: 120_000,
      });
      machine = await startGuest(host, await platform.find('mail01'));
      assert.equal(await shell(machine, 'cat /data/mark'), String(round));
      await assertRecords(machine);
    });
  }
});

function startReader(host: TestHost): Promise<ChildProcess> {
  return startProgram(join(import.meta.dirname, 'redo-logs-reader.ts'), [host.root, 'mail01'], 'adding');
}

async function killed(reader: ChildProcess, delayMs: number): Promise<void> {
  await systemClock.sleep(delayMs);
  if (reader.exitCode !== null) return; // QEMU's end has ended it
  await kill(reader);
}

/** The guardian has gone: what is left can be asked for. */
async function settled({ platform }: TestHost, machine: Machine): Promise<void> {
  await waitUntil(
    async () => {
      const recovered = await platform.recover();
      assert.deepEqual(
        recovered.flatMap(({ left }) => left),
        [],
      );
      return !(await readdir(join(machine.folder ?? '', '.run'))).includes('backup.json');
    },
    { what: 'the guardian to have undone what was left', timeoutMs: 60_000 },
  );
}

/** False while the guardian is still at it. */
async function starts({ platform }: TestHost, machine: Machine): Promise<boolean> {
  try {
    await platform.power(machine, 'start');
    return true;
  } catch (error) {
    if (toPrimaError(error, 'starting').code !== 'busy') throw error;
    return false;
  }
}

async function assertRecords(machine: Machine): Promise<void> {
  const report = await withAgent(machine, (agent) => verifyRecords(agent));
  assert.equal(report.bad, 0, JSON.stringify(report));
}

async function logFiles(machine: Machine): Promise<string[]> {
  return (await readdir(machine.folder ?? '')).filter((name) => /REDO|redo/.test(name));
}
