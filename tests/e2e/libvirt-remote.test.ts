/** A libvirt host at the other end of an SSH connection: nothing but its sshd is reached, QEMU's sockets come through a tunnel. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { openLibvirtHost } from '@prima/platforms';
import { startSshServer, temporaryFolder } from '@prima/testbed';
import { defineGuest, libvirtWorld, shell, startGuest } from './libvirt-fixture.ts';
import { applyChanges, assertSameFiles, saveReading } from './qemu-host-fixture.ts';

test('a machine is read hot, incrementally and cold, and restored, through SSH', async (t) => {
  const world = await libvirtWorld(t);
  const { daemon } = world;
  await using sshd = await startSshServer();
  const query = new URLSearchParams({
    socket: daemon.socket,
    keyfile: sshd.identity,
    known_hosts: sshd.knownHosts,
  });
  const uri = `qemu+ssh://${sshd.user}@127.0.0.1:${sshd.port}/system?${query.toString()}`;
  const platform = openLibvirtHost('far', uri, { root: daemon.root });
  t.after(() => platform.close());
  const folder = await temporaryFolder(t);
  const checks = await platform.test();
  assert.ok(
    checks.every(({ ok }) => ok),
    JSON.stringify(checks),
  );
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  const first = await platform.openForBackup(machine, { mode: 'hot', owner: 'a' });
  const files = await saveReading(first, folder, 'first');
  await first.committing?.();
  await first.succeed();
  await first.close();
  await shell(world, 'web', 'dd if=/dev/urandom of=/big bs=64k count=64; sync');
  const second = await platform.openForBackup(machine, { mode: 'hot', owner: 'a', since: first.checkpoint });
  const whole = await saveReading(second, folder, 'second');
  for (const index of [0, 1]) {
    await applyChanges(second, index, files[index] ?? '');
    await assertSameFiles(files[index] ?? '', whole[index] ?? '');
  }
  await second.committing?.();
  await second.succeed();
  await second.close();
  await platform.power(machine, 'stop');
  const cold = await platform.openForBackup(machine, { mode: 'cold', owner: 'a', since: second.checkpoint });
  assert.ok(
    cold.disks.every(({ changed }) => changed),
    cold.disks.map(({ whyFull }) => whyFull).join(),
  );
  await cold.close();

  const target = await platform.prepareRestore({
    id: machine.id,
    name: 'copy',
    files: [await platform.configuration(machine)],
    disks: second.disks.map(({ disk: { slot, name, size, format } }) => ({ slot, name, size, format })),
  });
  const piece = new Uint8Array(1 << 20).fill(7);
  for (const { device } of target.disks) await device?.write(0, piece);
  const copy = await target.commit();
  assert.equal(copy.state, 'off');
  const again = await platform.openForBackup(copy, { mode: 'cold', owner: 'a' });
  const back = new Uint8Array(1 << 20);
  for (const { device } of again.disks) {
    await device.read(0, back);
    assert.deepEqual(back, piece);
  }
  await again.close();
  await platform.delete(copy);
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => name.startsWith('copy') || name.startsWith('prima')),
    [],
  );
});
