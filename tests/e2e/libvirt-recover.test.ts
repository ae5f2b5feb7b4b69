/** Machines that run from the repository, on a real daemon: they start, move, wait for a Prima that died, and go. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type PrimaProcess, waitUntil } from '@prima/testbed';
import { type CommandWorld, commandWorld } from './libvirt-command-fixture.ts';
import { defineGuest, type GuestOptions, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';

/** A machine `web` with two disks, backed up with records on it, and gone. */
async function backedUp(world: CommandWorld, options: GuestOptions = {}) {
  const web = await startGuest(world, await defineGuest(world, 'web', options));
  await world.prima('backup', 'lab/web');
  const before = await verifyGuest(world, 'web');
  await world.platform.power(web, 'kill');
  await world.prima('machine', 'delete', 'lab/web');
  return before;
}

async function isMoved({ daemon }: CommandWorld, name: string): Promise<void> {
  for (const flags of [[], ['--inactive']]) {
    const xml = await daemon.virsh('dumpxml', name, ...flags);
    assert.doesNotMatch(xml, /nbd|prima-recovery/);
  }
  assert.doesNotMatch(await daemon.virsh('dumpxml', name, '--inactive'), /error_policy/);
}

/** Guest and disks are what they were, also for a QEMU that never knew of the recovery. */
async function isWholeAfterRestart(world: CommandWorld, name: string, least: number): Promise<void> {
  const machine = await world.platform.find(name);
  await world.platform.power(machine, 'stop');
  await startGuest(world, machine);
  const report = await verifyGuest(world, name);
  assert.equal(report.bad, 0);
  assert.ok(report.last >= least, `${report.last} of ${least}`);
}

const runs = (prima: PrimaProcess) => prima.printed(/its disks come from here|has its disks again/);

test('a machine runs from the repository, its disks move while it writes, and Prima may die meanwhile', async (t) => {
  const world = await commandWorld(t);
  const { daemon, platform, prima, run, spawn } = world;
  const before = await backedUp(world, { formats: ['qcow2', 'raw'] });

  const missing = await run('recover', 'latest', '--to-host', 'lab', '--migrate-to', 'slow');
  assert.match(missing.stderr, /no storage pool slow/);
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => /qcow2|raw/.test(name)),
    [],
  );

  // served only; killed; the machine waits, and the same command goes on
  const recover = ['recover', 'latest', '--to-host', 'lab'];
  const first = spawn(...recover, '--no-migrate');
  await runs(first);
  const web = await startGuest(world, await platform.find('web'));
  assert.match(await daemon.virsh('dumpxml', 'web'), /protocol='nbd'/);
  const refused = await run('backup', 'lab/web');
  assert.match(refused.stderr, /runs from the restore point/);
  assert.match((await run('machine', 'delete', 'lab/web')).stderr, /is running|cannot be deleted/);
  const taken = await run('recover', 'latest', '--to-host', 'lab', '--as', 'web', '--no-migrate');
  assert.match(taken.stderr, /a server answers there already/);
  first.kill();
  await first.result;
  const reading = shell(world, 'web', 'echo 3 > /proc/sys/vm/drop_caches; cat /bin/* /data/* | wc -c').catch(
    () => undefined, // the agent does not answer while the machine waits
  );
  await waitUntil(async () => /I\/O error/.test(await daemon.virsh('domstate', 'web', '--reason')), {
    what: 'the machine to wait for its disks',
  });
  await reading;

  const second = spawn(...recover, '--move-rate', '4M');
  await runs(second);
  await waitUntil(async () => /running/.test(await daemon.virsh('domstate', 'web')), {
    what: 'web to go on',
  });
  await waitUntil(() => moving(world), {
    what: 'a disk to move',
    timeoutMs: 90_000,
  });
  second.kill();
  await second.result;

  const done = await prima('recover', '--resume', 'lab/web');
  assert.match(done, /Machine lab\/web is running/);
  await isMoved(world, 'web');
  const after = await verifyGuest(world, 'web');
  assert.equal(after.bad, 0);
  assert.ok(after.last > before.last);
  assert.deepEqual((await readdir(daemon.disks)).filter((name) => /qcow2|raw/.test(name)).sort(), [
    'web-0.qcow2',
    'web-1.raw',
  ]);
  assert.ok(!(await readdir(join(daemon.root, 'qemu'))).some((name) => name.startsWith('prima-')));
  await isWholeAfterRestart(world, web.name, after.last);
  assert.match((await run('recover', '--resume', 'lab/web')).stderr, /not under recovery/);
});

async function moving({ daemon }: CommandWorld): Promise<boolean> {
  for (const target of ['vda', 'vdb'])
    if ((await daemon.virsh('blockjob', 'web', target, '--raw')).includes('cur=')) return true;
  return false;
}

test('a recovery is taken back, and goes into a pool, where machines run as a user of their own', async (t) => {
  const world = await commandWorld(t, { qemuConfig: 'dynamic_ownership = 1\n' });
  const { daemon, prima, run, spawn } = world;
  const before = await backedUp(world, { isUnprivileged: true });
  const first = spawn('recover', 'latest', '--to-host', 'lab', '--no-migrate');
  await runs(first);
  const pid = (await daemon.machinePid('web')) ?? 0;
  assert.match(await readFile(`/proc/${pid}/status`, 'latin1'), /^Uid:\t[1-9]/m);
  assert.match(await prima('recover', '--cancel', 'lab/web'), /Removed lab\/web/);
  assert.notEqual((await first.result).status, 0);
  assert.equal((await daemon.virsh('list', '--all', '--name')).trim(), '');
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => /qcow2|raw/.test(name)),
    [],
  );

  const pool = join(daemon.disks, 'pool');
  await daemon.virsh('pool-create-as', 'fast', 'dir', '--target', pool, '--build');
  const done = await prima('recover', 'latest', '--to-host', 'lab', '--as', 'other', '--migrate-to', 'fast');
  assert.match(done, /web-0\.qcow2/);
  await isMoved(world, 'other');
  assert.deepEqual((await readdir(pool)).sort(), ['web-0.qcow2', 'web-1.qcow2']);
  const taken = await run('recover', 'latest', '--to-host', 'lab', '--as', 'other');
  assert.match(taken.stderr, /there is a machine other/);
  await isWholeAfterRestart(world, 'other', before.last);
});
