/** A machine of a host that is reached by TLS alone: read, and restored. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { defineGuest, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';
import { pointOf, tlsWorld } from './libvirt-tls-fixture.ts';

test('a machine is read hot and incrementally, and restored, over TLS', async (t) => {
  const world = await tlsWorld(t);
  const { prima, platform, daemon } = world;
  assert.match(await prima('host', 'test', 'far'), /can be read over TLS, at the ports 10809 to 10872/);
  const web = await startGuest(world, await defineGuest(world, 'web'));
  const first = await pointOf(world);
  assert.equal(first.mode, 'hot');
  const before = await verifyGuest(world, 'web');
  await shell(world, 'web', 'dd if=/dev/urandom of=/more bs=64k count=20; sync');
  const second = await pointOf(world);
  assert.deepEqual(
    second.disks.map(({ whyFull }) => whyFull),
    [undefined, undefined],
  );
  await platform.power(web, 'kill');
  await prima('restore', 'latest', '--to-host', 'far', '--as', 'copy', '--start');
  await startGuest(world, await platform.find('copy'));
  const report = await verifyGuest(world, 'copy');
  assert.equal(report.bad, 0);
  assert.ok(report.last >= before.last, `${report.last} of ${before.last}`);
  assert.equal(await shell(world, 'copy', 'ls /more'), '/more');
  const recovered = await world.run('recover', 'latest', '--to-host', 'far', '--as', 'other');
  assert.match(recovered.stderr, /on another computer/);
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => name.startsWith('prima')),
    [],
  );
  assert.doesNotMatch(await daemon.virsh('list', '--all', '--name'), /prima-/);
});
