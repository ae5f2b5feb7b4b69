/** Whose disk is it? What is read of disks that changed places, and which files a host keeps because somebody else has them. */
import assert from 'node:assert/strict';
import { access, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { runProgram } from '@prima/base';
import type { Machine } from '@prima/platforms';
import { bitmapsOf, type LibvirtWorld, libvirtWorld } from './libvirt-fixture.ts';

interface Shape {
  uuid?: string;
  /** File names of its disks, qcow2, from vda on. */
  disks: readonly string[];
  /** More of <os>. */
  os?: string;
  devices?: string;
}

/** A machine that is never started. */
async function define({ daemon, platform }: LibvirtWorld, name: string, shape: Shape): Promise<Machine> {
  const disks = shape.disks.map(
    (file, index) =>
      `<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='${join(daemon.disks, file)}'/><target dev='vd${'abcd'.charAt(index)}' bus='virtio'/></disk>`,
  );
  const uuid = shape.uuid === undefined ? '' : `<uuid>${shape.uuid}</uuid>`;
  const path = join(daemon.disks, `${name}.xml`);
  await writeFile(
    path,
    `<domain type='qemu'><name>${name}</name>${uuid}<memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type>${shape.os ?? ''}</os><features><acpi/></features><devices>${disks.join('')}${shape.devices ?? ''}</devices></domain>`,
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

test('a machine is deleted, and what other machines build upon or have is left', async (t) => {
  const world = await libvirtWorld(t);
  for (const name of ['base', 'shared', 'own']) await makeDisk(world, name);
  await makeDisk(world, 'middle', 'base');
  await makeDisk(world, 'top', 'middle');
  await mkdir(join(world.daemon.disks, 'real'));
  await symlink(join(world.daemon.disks, 'real'), join(world.daemon.disks, 'link'));
  await makeDisk(world, 'real/linked');
  await define(world, 'clone', { disks: ['top', 'shared', 'link/linked'] });
  const original = await define(world, 'original', { disks: ['base', 'shared', 'own', 'real/linked'] });
  await world.platform.delete(original);
  const path = (name: string) => join(world.daemon.disks, name);
  for (const name of ['base', 'middle', 'top', 'shared', 'real/linked']) await access(path(name));
  await assert.rejects(access(path('own')));
});

/** Puts `target` of the machine back by itself, or all that `files` have. */
async function replace(
  { platform, daemon }: LibvirtWorld,
  machine: Machine,
  target: string,
  isOnly: boolean,
) {
  const xml = { name: 'domain.xml', bytes: Buffer.from(await daemon.virsh('dumpxml', machine.name)) };
  const restore = await platform.prepareRestore({
    id: machine.id,
    name: machine.name,
    files: [xml, { name: 'nvram.fd', bytes: Buffer.from('of the point') }],
    disks: [{ slot: target, name: target, size: 8 << 20, format: 'qcow2' }],
    replace: true,
    ...(isOnly ? { onlyDisks: true } : {}),
  });
  await restore.commit();
  return restore.notes.join('; ');
}

test("a disk is replaced alone: firmware variables stay, and so does what is another machine's", async (t) => {
  const world = await libvirtWorld(t);
  const path = (name: string) => join(world.daemon.disks, name);
  for (const name of ['a', 'b']) await makeDisk(world, name);
  await makeDisk(world, 'over', 'b');
  await define(world, 'other', { disks: ['over'] });
  const os = `<loader readonly='yes' type='pflash'>${path('code')}</loader><nvram>${path('vars')}</nvram>`;
  await writeFile(path('vars'), 'of the host');
  const machine = await define(world, 'web', { disks: ['a', 'b'], os });
  assert.match(await replace(world, machine, 'vdb', true), /the old disk .*\/b is left: a machine needs it/);
  await access(path('b'));
  assert.equal(await readFile(path('vars'), 'utf8'), 'of the host');
});

test('a machine whose disk went with its folder is replaced all the same', async (t) => {
  const world = await libvirtWorld(t);
  await mkdir(join(world.daemon.disks, 'lost'));
  await mkdir(join(world.daemon.root, 'images'), { recursive: true });
  await makeDisk(world, 'lost/a');
  const machine = await define(world, 'web', { disks: ['lost/a'] });
  await rm(join(world.daemon.disks, 'lost'), { recursive: true });
  assert.match(await replace(world, machine, 'vda', false), /the old disk .*\/lost\/a is left: /);
  assert.deepEqual((await world.daemon.virsh('list', '--all', '--name')).trim(), 'web');
});

test('small files of one folder are read at once, and a pool that was left there is no hindrance', async (t) => {
  const world = await libvirtWorld(t);
  const { daemon, platform } = world;
  await mkdir(join(daemon.disks, 'logs'));
  const log = join(daemon.disks, 'logs', 'web');
  await writeFile(log, 'said');
  await makeDisk(world, 'a');
  const devices = `<serial type='pty'><log file='${log}'/></serial>`;
  const machine = await define(world, 'web', { disks: ['a'], devices });
  const read = () => Promise.all(Array.from({ length: 12 }, () => platform.consoleLog(machine)));
  assert.deepEqual(new Set(await read()), new Set(['said']));
  await daemon.virsh('pool-create-as', 'prima-0123456789ab', 'dir', '--target', join(daemon.disks, 'logs'));
  assert.equal(await platform.consoleLog(machine), 'said');
  assert.doesNotMatch(await daemon.virsh('pool-list', '--all', '--name'), /prima-/);
});

test('the bitmap of a disk that is read wholly goes with its checkpoint', async (t) => {
  const world = await libvirtWorld(t);
  const { daemon, platform } = world;
  for (const name of ['a', 'b']) await makeDisk(world, name);
  const off = await define(world, 'web', { disks: ['a', 'b'] });
  await platform.power(off, 'start');
  const machine = await platform.find('web');
  const first = await platform.openForBackup(machine, { mode: 'hot', owner: 'one' });
  await first.succeed();
  await first.close();
  await daemon.virsh('blockresize', 'web', 'vdb', '16M');
  const since = first.checkpoint;
  const second = await platform.openForBackup(machine, { mode: 'hot', owner: 'one', since });
  assert.deepEqual(
    second.disks.map(({ changed }) => changed !== undefined),
    [true, false],
  );
  await second.succeed();
  await second.close();
  await platform.power(machine, 'kill');
  for (const { path } of machine.disks) assert.deepEqual(await bitmapsOf(path), [second.checkpoint['name']]);
});
