/** Whose disk is it? What is read of disks that changed places, and which files a host keeps because somebody else has them. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { type LibvirtWorld, libvirtWorld } from './libvirt-fixture.ts';

interface Shape {
  uuid?: string;
  /** File names of its disks, qcow2, from vda on. */
  disks: readonly string[];
}

/** A machine that is never started. */
async function define({ daemon, platform }: LibvirtWorld, name: string, shape: Shape): Promise<Machine> {
  const disks = shape.disks.map(
    (file, index) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${join(daemon.disks, file)}'/><target dev='vd${'abc'.charAt(index)}' bus='virtio'/></disk>`,
  );
  const uuid = shape.uuid === undefined ? '' : `<uuid>${shape.uuid}</uuid>`;
  const path = join(daemon.disks, `${name}.xml`);
  await writeFile(
    path,
    `<domain type='qemu'><name>${name}</name>${uuid}<memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>${disks.join('')}</devices></domain>`,
  );
  await daemon.virsh('define', path);
  return platform.find(name);
}

async function makeDisk({ daemon }: LibvirtWorld, name: string, backing?: string): Promise<void> {
  const base = backing === undefined ? [] : ['-F', 'qcow2', '-b', join(daemon.disks, backing)];
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', ...base, join(daemon.disks, name), '8M']);
}

test('disks that changed places are read wholly: their bitmaps have one name', async (t) => {
  const world = await libvirtWorld(t);
  for (const name of ['a', 'b']) await makeDisk(world, name);
  const machine = await define(world, 'web', { disks: ['a', 'b'] });
  const first = await world.platform.openForBackup(machine, { mode: 'cold', owner: 'one' });
  await first.succeed();
  await first.close();
  const since = first.checkpoint;
  const swapped = await define(world, 'web', { uuid: machine.id, disks: ['b', 'a'] });
  const second = await world.platform.openForBackup(swapped, { mode: 'cold', owner: 'one', since });
  for (const { whyFull } of second.disks) assert.match(whyFull ?? '', /another disk is there/);
  await second.close();
  await makeDisk(world, 'over', 'a');
  await runProgram('qemu-img', ['bitmap', '--add', join(world.daemon.disks, 'over'), String(since['name'])]);
  const overlaid = await define(world, 'web', { uuid: machine.id, disks: ['over', 'b'] });
  const third = await world.platform.openForBackup(overlaid, { mode: 'cold', owner: 'one', since });
  assert.deepEqual(
    third.disks.map(({ whyFull }) => whyFull),
    [undefined, undefined],
  );
  await third.close();
});
