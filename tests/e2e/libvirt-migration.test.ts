/** A machine moves to another libvirt host while it runs, and back: what is tracked goes with it, in its disks' files. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { openLibvirtHost } from '@prima/platforms';
import { freePorts, type LibvirtDaemon, startLibvirtDaemon, temporaryFolder } from '@prima/testbed';
import { defineGuest, libvirtWorld, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';
import { TrackedMachine } from './libvirt-tracked-machine.ts';

async function migrate(from: LibvirtDaemon, to: LibvirtDaemon): Promise<void> {
  const [port = 0] = await freePorts(1);
  const where = ['--migrateuri', `tcp://127.0.0.1:${port}`, '--listen-address', '127.0.0.1'];
  const how = ['--live', '--persistent', '--undefinesource', '--unsafe'];
  await from.virsh('migrate', 'web', to.uri, ...how, ...where);
}

test('a machine that has migrated is read incrementally on its new host', async (t) => {
  const world = await libvirtWorld(t, { config: `host_uuid = "${randomUUID()}"\n` });
  const two = await startLibvirtDaemon(t, {
    config: `host_uuid = "${randomUUID()}"\n`,
    hostname: 'prima-two',
  });
  const other = openLibvirtHost('two', two.uri, { root: two.root });
  t.after(() => other.close());
  const place = { platform: world.platform };
  const web = new TrackedMachine(place, await temporaryFolder(t), 'one');
  const machine = await startGuest(world, await defineGuest(world, 'web'));
  await web.backUp();

  await shell(world, 'web', 'dd if=/dev/urandom of=/before bs=64k count=8; sync');
  await migrate(world.daemon, two);
  const there = { ...world, daemon: two, platform: other };
  place.platform = other;
  await shell(there, 'web', 'dd if=/dev/urandom of=/after bs=64k count=8; sync');
  const since = web.since ?? assert.fail('no point');
  const findings = (await other.doctor?.(machine, { owner: 'one', since })) ?? [];
  const about = (subject: string) => findings.find((finding) => finding.subject === subject);
  const checkpoint = about(`checkpoint ${String(since['name'])}`);
  assert.match(`${checkpoint?.found} ${checkpoint?.done}`, /undefined or moved since.*told again/);
  for (const name of ['vda', 'vdb']) assert.match(about(name)?.found ?? '', /only what has changed/);
  const second = await web.backUp();
  assert.deepEqual(second.full, [undefined, undefined]);
  assert.ok(second.bytes >= 1024 * 1024, `${second.bytes} read`); // of both hosts
  assert.equal((await two.virsh('checkpoint-list', 'web', '--name')).trim(), String(web.since?.['name']));

  await migrate(two, world.daemon);
  place.platform = world.platform;
  await shell(world, 'web', 'dd if=/dev/urandom of=/back bs=64k count=8; sync');
  const third = await web.backUp();
  assert.deepEqual(third.full, [undefined, undefined]);
  assert.match(third.why, /told again/);
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});
