/** A libvirt host, on a real daemon with real machines: looking, power, hot and cold readings, restore. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import { openRawFile } from '@prima/block';
import { serveNbd } from '@prima/nbd';
import { randomFile, temporaryFolder, waitUntil } from '@prima/testbed';
import { attachLoop } from '../interop/prima-fixture.ts';
import { defineGuest, libvirtWorld, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';
import { applyChanges, assertSameFiles, saveReading } from './qemu-host-fixture.ts';

test('a machine is seen, started, looked at, read hot and incrementally, and stopped', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const folder = await temporaryFolder(t);
  assert.ok((await platform.test()).every(({ ok }) => ok));
  const off = await defineGuest(world, 'web');
  assert.equal(off.state, 'off');
  const machine = await startGuest(world, off);
  assert.equal(machine.state, 'running');
  assert.deepEqual(
    machine.disks.map(({ name, format, size }) => [name, format, size]),
    [
      ['vda', 'qcow2', 128 * 1024 * 1024],
      ['vdb', 'qcow2', 64 * 1024 * 1024],
    ],
  );
  const png = Buffer.from(await platform.screenshot(machine));
  assert.equal(png.subarray(1, 4).toString(), 'PNG');
  await waitUntil(async () => /PRIMA-BOOTED/.test(await platform.consoleLog(machine)), {
    what: 'what the guest printed, which its agent may be ahead of',
  });
  const first = await platform.openForBackup(machine, { mode: 'auto', owner: 'a' });
  assert.equal(first.mode, 'hot');
  assert.equal(first.quiesced, true, first.why.join('; '));
  const [a, b] = [await saveReading(first, folder, 'a'), await saveReading(first, folder, 'b')];
  for (const [index, file] of a.entries()) await assertSameFiles(file, b[index] ?? '');
  await assert.rejects(platform.openForBackup(machine, { mode: 'hot', owner: 'a' }), { code: 'busy' });
  await first.succeed();
  await first.close();
  assert.equal((await daemon.virsh('checkpoint-list', 'web', '--name')).trim(), first.checkpoint['name']);
  await shell(world, 'web', 'dd if=/dev/urandom of=/big bs=64k count=64; sync');
  const second = await platform.openForBackup(machine, {
    mode: 'hot',
    owner: 'a',
    since: first.checkpoint,
  });
  const full = await saveReading(second, folder, 'full');
  for (const index of [0, 1]) {
    const bytes = await applyChanges(second, index, a[index] ?? '');
    assert.ok(bytes > 0 && bytes < 16 * 1024 * 1024, `${bytes} changed`);
    await assertSameFiles(a[index] ?? '', full[index] ?? '');
  }
  await second.succeed();
  await second.close();
  assert.equal((await daemon.virsh('checkpoint-list', 'web', '--name')).trim(), second.checkpoint['name']);
  assert.doesNotMatch(await daemon.virsh('dumpxml', 'web'), /prima:run/);
  await platform.power(machine, 'stop');
  const stopped = await platform.find('web');
  assert.equal(stopped.state, 'off');
  const cold = await platform.openForBackup(stopped, { mode: 'auto', owner: 'a', since: second.checkpoint });
  assert.equal(cold.mode, 'cold');
  const whole = await saveReading(cold, folder, 'cold');
  for (const index of [0, 1]) {
    await applyChanges(cold, index, full[index] ?? '');
    await assertSameFiles(full[index] ?? '', whole[index] ?? '');
  }
  await cold.succeed();
  await cold.close();
  assert.equal((await daemon.virsh('checkpoint-list', 'web', '--name')).trim(), cold.checkpoint['name']);
  assert.deepEqual((await daemon.virsh('list', '--all', '--name')).trim().split('\n'), ['web']);
  const again = await startGuest(world, stopped);
  const third = await platform.openForBackup(again, { mode: 'hot', owner: 'a', since: cold.checkpoint });
  assert.ok(
    third.disks.every(({ changed }) => changed),
    third.disks.map((d) => d.whyFull).join(),
  );
  await third.close();
  assert.equal((await daemon.virsh('checkpoint-list', 'web', '--name')).trim(), cold.checkpoint['name']);
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
  assert.ok(join(folder));
});

test('disks of other kinds: a block device, an NBD export, a volume of a pool', async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const folder = await temporaryFolder(t);
  const at = (name: string) => join(daemon.disks, name);
  for (const [index, name] of ['block.raw', 'export.raw', 'volume.raw'].entries())
    await randomFile(at(name), { size: 16 * MiB, dataFraction: 0.5, seed: index });
  const loop = await attachLoop(t, at('block.raw'));
  const socket = at('nbd.sock');
  const device = await openRawFile(at('export.raw'), { writable: true });
  const server = await serveNbd({
    listen: { socketPath: socket },
    exports: [{ name: 'e', device, writable: true }],
  });
  t.after(async () => {
    await server.close();
    await device.close();
  });
  await daemon.virsh('pool-create-as', 'pool', 'dir', '--target', daemon.disks);
  const disk = (type: string, source: string, target: string) =>
    `<disk type='${type}' device='disk'><driver name='qemu' type='raw'/>${source}<target dev='${target}' bus='virtio'/></disk>`;
  const devices = [
    disk('block', `<source dev='${loop}'/>`, 'vdc'),
    disk(
      'network',
      `<source protocol='nbd' name='e'><host transport='unix' socket='${socket}'/></source>`,
      'vdd',
    ),
    disk('volume', `<source pool='pool' volume='volume.raw'/>`, 'vde'),
  ];
  const machine = await defineGuest(world, 'web', { devices: devices.join('') });
  await daemon.virsh('start', 'web', '--paused');
  for (const mode of ['hot', 'cold'] as const) {
    if (mode === 'cold') await daemon.virsh('destroy', 'web');
    const reading = await platform.openForBackup(machine, { mode, owner: 'a' });
    assert.deepEqual(
      reading.disks.map(({ disk: { name, format } }) => `${name} ${format}`),
      ['vda qcow2', 'vdb qcow2', 'vdc raw', 'vdd raw', 'vde raw'],
    );
    const files = await saveReading(reading, folder, mode);
    for (const [index, name] of ['block.raw', 'export.raw', 'volume.raw'].entries())
      await assertSameFiles(files[index + 2] ?? '', at(name));
    await reading.close();
  }
});
