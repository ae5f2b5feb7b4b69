/** Prima is killed at any moment of beginning, keeping and undoing a rollback point: what is left is explained, and finished. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { PrimaError, systemClock } from '@prima/base';
import { temporaryFolder } from '@prima/testbed';
import { type CommandWorld, commandWorld } from './libvirt-command-fixture.ts';
import { defineGuest, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';
import { TrackedMachine } from './libvirt-tracked-machine.ts';

type Phase = 'none' | 'beginning' | 'open' | 'keeping' | 'undoing';

async function phaseOf({ prima }: CommandWorld): Promise<Phase> {
  const printed = await prima('--json', '--quiet', 'machine', 'rollback', 'list', 'lab/web');
  const [point] = (JSON.parse(printed) as { result: { phase: Phase; notes: string[] }[] }).result;
  if (point && point.phase !== 'open')
    assert.match(point.notes.join(), /(keep|undo)( or undo)? (finishes|removes)/);
  return point?.phase ?? 'none';
}

const next = { none: 'begin', beginning: 'undo', open: 'keep', keeping: 'keep', undoing: 'undo' } as const;

/** A commit that its killer left in QEMU keeps backups away until keep has finished it, and they say so. */
async function backUpBesideCommit(points: TrackedMachine): Promise<void> {
  await points.backUp().catch((error: unknown) => {
    if (!(error instanceof PrimaError) || error.code !== 'busy') throw error;
    assert.match(error.message, /prima machine rollback keep/);
  });
}

test('killed, and finished', async (t) => {
  const world = await commandWorld(t);
  const { prima, spawn, platform, daemon } = world;
  await startGuest(world, await defineGuest(world, 'web'));
  const { rollback } = platform;
  assert.ok(rollback);
  const points = new TrackedMachine(world, await temporaryFolder(t));
  await points.backUp();
  const seed = Number(process.env['PRIMA_TEST_SEED'] ?? Date.now() % 100_000);
  let state = seed;
  const random = (limit: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return (state >> 8) % limit;
  };
  for (let round = 0; round < 8; round += 1) {
    const before = await phaseOf(world);
    const action = before === 'open' && round % 2 === 1 ? 'undo' : next[before];
    const killed = spawn('machine', 'rollback', action, 'lab/web');
    const end = new AbortController();
    const ended = killed.result.then(() => end.abort());
    const now = async () => (await rollback.find(await platform.find('web')))?.phase ?? 'none';
    while (!end.signal.aborted && (await now()) === before) await systemClock.sleep(5);
    await systemClock.sleep(random(250));
    killed.kill('SIGKILL');
    await ended;
    const after = await phaseOf(world);
    t.diagnostic(`seed ${seed}, round ${round}: ${before}, ${action} was killed: ${after}`);
    if ((await platform.find('web')).state === 'running' && after !== 'undoing') {
      await startGuest(world, await platform.find('web'));
      await shell(world, 'web', `dd if=/dev/urandom of=/r${round} bs=64k count=8 2>/dev/null; sync`);
      if (after === 'keeping') await backUpBesideCommit(points);
      else await points.backUp();
    }
  }
  const left = await phaseOf(world);
  if (left !== 'none') await prima('machine', 'rollback', next[left], 'lab/web');
  assert.equal(await phaseOf(world), 'none');
  const files = await readdir(daemon.disks);
  assert.deepEqual(
    files.filter((name) => name.startsWith('prima-')),
    [],
    `seed ${seed}`,
  );
  await points.backUp();
  await startGuest(world, await platform.find('web'));
  await points.backUp();
  assert.equal((await verifyGuest(world, 'web')).bad, 0, `seed ${seed}`);
});
