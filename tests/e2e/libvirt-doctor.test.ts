/**
 * Everything that may come between two backups of a libvirt machine: per disk the cause is named, and the other disks go
 * on from where they were.
 */
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import type { Checkpoint, Machine } from '@prima/platforms';
import {
  crashGuest,
  defineGuest,
  type LibvirtWorld,
  libvirtWorld,
  shell,
  startGuest,
  verifyGuest,
} from './libvirt-fixture.ts';

const owner = 'one';

interface Point {
  checkpoint: Checkpoint;
  /** Why disks were read wholly, by name; undefined where only changes were. */
  full: Record<string, string | undefined>;
  why: string[];
}

async function backUp({ platform }: LibvirtWorld, machine: Machine, since?: Checkpoint): Promise<Point> {
  const reading = await platform.openForBackup(machine, { mode: 'auto', owner, ...(since ? { since } : {}) });
  const full = Object.fromEntries(reading.disks.map(({ disk, whyFull }) => [disk.name, whyFull]));
  await reading.committing?.();
  await reading.succeed();
  await reading.close();
  return { checkpoint: reading.checkpoint, full, why: reading.why };
}

const tracked = { vda: undefined, vdb: undefined };

test('between two backups', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  let machine = await startGuest(world, await defineGuest(world, 'web'));
  let last = await backUp(world, machine);
  const again = async () => {
    machine = await platform.find('web');
    last = await backUp(world, machine, last.checkpoint);
    return last;
  };
  const doctor = async (takeOver = false) =>
    (await platform.doctor?.(machine, { owner, since: last.checkpoint, takeOver })) ?? [];
  const said = async (subject: string) =>
    (await doctor())
      .filter((finding) => finding.subject === subject)
      .map(({ found }) => found)
      .join();

  await t.test('nothing', async () => {
    assert.deepEqual((await again()).full, tracked);
    assert.match(await said('vda'), /only what has changed/);
  });
  await t.test('a clean stop and start', async () => {
    await platform.power(machine, 'stop');
    await startGuest(world, machine);
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('a snapshot over the disks, and its commit', async () => {
    const specs = ['vda', 'vdb'].flatMap((name) => [
      '--diskspec',
      `${name},file=${join(daemon.disks, `overlay-${name}`)}`,
    ]);
    await daemon.virsh('snapshot-create-as', 'web', 's', '--disk-only', '--no-metadata', ...specs);
    assert.deepEqual((await again()).full, tracked);
    for (const name of ['vda', 'vdb'])
      await daemon.virsh('blockcommit', 'web', name, '--active', '--pivot', '--wait');
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('a disk is resized', async () => {
    await daemon.virsh('blockresize', 'web', 'vdb', '80M');
    assert.match(await said('vdb'), /resized/);
    const { full } = await again();
    assert.match(full['vdb'] ?? '', /was resized, from 67108864 to 83886080/);
    assert.equal(full['vda'], undefined);
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('a disk is added, and removed', async () => {
    const path = join(daemon.disks, 'more.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', path, '16M']);
    await daemon.virsh('attach-disk', 'web', path, 'vdc', '--subdriver', 'qcow2', '--live', '--config');
    const { full } = await again();
    assert.match(full['vdc'] ?? '', /was added/);
    assert.deepEqual([full['vda'], full['vdb']], [undefined, undefined]);
    assert.deepEqual((await again()).full, { ...tracked, vdc: undefined });
    await daemon.virsh('detach-disk', 'web', 'vdc', '--live', '--config');
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('libvirt forgets: the machine is undefined, and defined on another host', async () => {
    const xml = await daemon.virsh('dumpxml', 'web', '--inactive');
    await platform.power(machine, 'stop');
    await daemon.virsh('undefine', 'web', '--checkpoints-metadata');
    const path = join(daemon.disks, 'moved.xml');
    await writeFile(path, xml);
    await daemon.virsh('define', path);
    await startGuest(world, await platform.find('web'));
    machine = await platform.find('web');
    const found = (await doctor()).find(({ done }) => done !== undefined);
    assert.match(`${found?.found} ${found?.done}`, /had forgotten it.*told again/);
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('one disk is another: restored from elsewhere', async () => {
    await platform.power(machine, 'stop');
    const path = join(daemon.disks, 'web-1.qcow2');
    await runProgram('qemu-img', ['convert', '-O', 'qcow2', path, `${path}.new`]);
    await runProgram('qemu-img', ['resize', '-q', `${path}.new`, '80M']);
    await rename(`${path}.new`, path);
    machine = await platform.find('web');
    assert.match(await said('vdb'), /reads all of it: .*another disk is there/);
    await startGuest(world, machine);
    const { full } = await again();
    assert.match(full['vdb'] ?? '', /another disk is there/);
    assert.equal(full['vda'], undefined);
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('a crash', async () => {
    machine = await startGuest(world, await crashGuest(world, 'web'));
    assert.match(await said('vda'), /killed or crashed/);
    const { full } = await again();
    assert.match(full['vda'] ?? '', /killed or crashed/);
    assert.deepEqual((await again()).full, tracked);
  });
  await t.test('a checkpoint that nobody needs, one of another repository, one of another tool', async () => {
    const aborted = await platform.openForBackup(machine, { mode: 'hot', owner });
    await aborted.committing?.();
    await aborted.succeed(); // and then the point before is the newest again: it was forgotten
    await aborted.close();
    const other = await platform.openForBackup(machine, { mode: 'hot', owner: 'two' });
    await other.succeed();
    await other.close();
    await daemon.virsh('checkpoint-create-as', 'web', 'theirs');
    const findings = await doctor();
    const about = (name: unknown) => findings.find(({ subject }) => subject === `checkpoint ${String(name)}`);
    assert.equal(about(aborted.checkpoint['name'])?.done, 'it is removed');
    assert.match(about(other.checkpoint['name'])?.found ?? '', /another repository/);
    assert.match(about('theirs')?.found ?? '', /another tool/);
    const names = (await daemon.virsh('checkpoint-list', 'web', '--name')).trim().split('\n').sort();
    assert.deepEqual(names, [String(other.checkpoint['name']), 'theirs'].sort());
    last = await backUp(world, machine);
  });
  await t.test('a guest that somebody froze', async () => {
    await daemon.virsh('domfsfreeze', 'web');
    assert.match(await said('web'), /frozen, and no backup is under way: --take-over/);
    assert.equal((await doctor(true)).find(({ subject }) => subject === 'web')?.done, 'they are thawed');
    await shell(world, 'web', 'touch /x; sync');
  });
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});
