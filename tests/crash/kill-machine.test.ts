/**
 * kill -9 of `prima backup` while it reads a running machine: the guest thaws and works on, nothing stays in its
 * folder or in QEMU, and the next backup is good. What the platform alone promises is tried in tests/e2e.
 * PRIMA_CRASH_MACHINE_ROUNDS says how often (default 3).
 */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram, seededRandom, systemClock } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { runPrima, spawnPrima, waitUntil } from '@prima/testbed';
import {
  assertCleanFileSystem,
  assertUntouched,
  createGuest,
  inRun,
  shell,
  startGuest,
  testHost,
} from '../e2e/qemu-host-fixture.ts';

const rounds = Number(process.env['PRIMA_CRASH_MACHINE_ROUNDS'] ?? 3);
const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e6);

/** What undoes a dead backup outlives it, and holds the machine's lock until it is done. */
async function undone(machine: Machine): Promise<void> {
  const isFree = async () => {
    const args = ['-n', '-E', '75', inRun(machine, 'lock'), 'true'];
    return (await runProgram('flock', args, { accept: [0, 66, 75] })).status !== 75;
  };
  await waitUntil(isFree, { what: 'the machine to be free', timeoutMs: 60_000 });
}

/** Without what QEMU itself keeps in `.run`. */
async function filesOf(machine: Machine): Promise<string[]> {
  return (await readdir(machine.folder ?? assert.fail('it has a folder'))).sort();
}

async function assertWrites(machine: Machine): Promise<void> {
  const size = () => shell(machine, 'stat -c %s /data/records');
  const before = await size();
  await waitUntil(async () => (await size()) !== before, { what: 'the guest to write' });
}

test(`${rounds} times kill -9 while a running machine is backed up`, { timeout: 900_000 }, async (t) => {
  t.diagnostic(`seed ${seed}`);
  const random = seededRandom(seed);
  const host = await testHost(t);
  const machine = await startGuest(host, await createGuest(host, 'mail'));
  const at = (...names: string[]) => join(host.scratch, ...names);
  const env = { PRIMA_HOME: at('home'), PRIMA_REPO: at('repository'), PRIMA_PASSPHRASE: 'correct horse' };
  const succeed = async (...args: string[]): Promise<void> => {
    const { status, stdout, stderr } = await runPrima(args, { env });
    assert.equal(status, 0, `seed ${seed}: prima ${args.join(' ')}: ${stdout}${stderr}`);
  };
  await succeed('init', '--chunk-size', '256K');
  await succeed('host', 'add', 'lab', host.root);
  const usual: Record<string, number> = {};
  for (const mode of ['hot', 'warm']) {
    const started = performance.now();
    await succeed('backup', 'lab/mail', '--mode', mode);
    usual[mode] = performance.now() - started;
  }
  const files = await filesOf(machine);
  for (let round = 0; round < rounds; round += 1) {
    const mode = round % 3 === 2 ? 'warm' : 'hot';
    const where = `seed ${seed}, round ${round}, ${mode}`;
    const how = await (async () => {
      await using prima = spawnPrima(['backup', 'lab/mail', '--mode', mode], { env });
      await systemClock.sleep(random.below(Math.ceil(usual[mode] ?? 0)));
      prima.kill();
      const { signal, status } = await prima.result;
      return signal ?? status;
    })();
    t.diagnostic(`${mode}: ${how}`);
    await undone(machine);
    await assertUntouched(machine, 2);
    assert.deepEqual(await filesOf(machine), files, `${where}: the machine's folder`);
    await assertWrites(machine);
    await succeed('check', '--read-data');
    await succeed('backup', 'lab/mail', '--mode', mode);
    await assertUntouched(machine, 1);
  }
  await succeed('backup', 'lab/mail', '--mode', 'hot');
  await succeed('restore', 'mail@latest', '--to', at('out'));
  const disks = (await readdir(at('out'))).filter((name) => name.endsWith('.raw'));
  assert.equal(disks.length, 2);
  for (const name of disks) await assertCleanFileSystem(at('out', name));
  await succeed('collect', '--max-delete-share', '1');
  await succeed('check', '--read-data');
  assert.deepEqual(await readdir(at('home', 'journal')), []);
});
