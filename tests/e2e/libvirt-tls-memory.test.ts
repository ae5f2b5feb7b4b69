/** What goes over TLS besides the disks of a running machine: memory, and disks of a machine that is off. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defineGuest, startGuest } from './libvirt-fixture.ts';
import { pointOf, tlsWorld } from './libvirt-tls-fixture.ts';

test('saved memory goes over TLS, and so do disks of a machine that is off', async (t) => {
  const world = await tlsWorld(t);
  await startGuest(world, await defineGuest(world, 'web'));
  assert.equal((await pointOf(world, '--mode', 'warm')).mode, 'warm');
  await world.daemon.virsh('managedsave', 'web');
  const cold = await pointOf(world);
  assert.deepEqual([cold.mode, ...cold.disks.map(({ whyFull }) => whyFull)], ['cold', undefined, undefined]);
  await world.prima('machine', 'delete', 'far/web');
  await world.prima('restore', 'latest', '--to-host', 'far', '--start');
  assert.match(await world.daemon.virsh('list', '--name'), /web/);
});
