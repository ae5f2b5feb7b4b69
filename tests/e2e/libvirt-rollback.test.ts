/**
 * Rollback points of libvirt machines: kept and undone, running and off, with backups between. After each, what an
 * incremental backup adds to the point before is what a full read finds.
 */
import assert from 'node:assert/strict';
import { access, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Machine } from '@prima/platforms';
import { type Cleanup, temporaryFolder } from '@prima/testbed';
import {
  crashGuest,
  defineGuest,
  type LibvirtWorld,
  libvirtWorld,
  shell,
  startGuest,
  verifyGuest,
} from './libvirt-fixture.ts';
import { TrackedMachine } from './libvirt-tracked-machine.ts';

type Rollback = NonNullable<LibvirtWorld['platform']['rollback']>;

const tracked = [undefined, undefined];

interface RollbackWorld extends LibvirtWorld {
  rollback: Rollback;
  points: TrackedMachine;
  web: () => Promise<Machine>;
  write: (name: string) => Promise<unknown>;
  overlays: () => Promise<string[]>;
}

async function rollbackWorld(t: Cleanup): Promise<RollbackWorld> {
  const world = await libvirtWorld(t);
  const { rollback } = world.platform;
  assert.ok(rollback);
  await startGuest(world, await defineGuest(world, 'web'));
  const points = new TrackedMachine(world, await temporaryFolder(t));
  await points.backUp();
  return {
    ...world,
    rollback,
    points,
    web: () => world.platform.find('web'),
    write: (name) => shell(world, 'web', `dd if=/dev/urandom of=/${name} bs=64k count=24 2>/dev/null; sync`),
    overlays: async () =>
      (await readdir(world.daemon.disks)).filter((name) => name.startsWith('prima-rollback-')),
  };
}

test('a patch that was good is kept', async (t) => {
  const world = await rollbackWorld(t);
  const { rollback, points, web, write, overlays, daemon, platform } = world;

  await t.test('running, with nothing between', async () => {
    const begun = await rollback.begin(await web());
    assert.deepEqual([begun.phase, begun.quiesced, begun.disks.length], ['open', true, 2]);
    assert.equal((await overlays()).length, 2);
    await assert.rejects(rollback.begin(await web()), { code: 'exists' });
    await daemon.virsh('blockcommit', 'web', 'vda', '--active', '--wait');
    await assert.rejects(points.backUp(), {
      code: 'busy',
      message: /vda of web has a block job.*active commit/,
    });
    await daemon.virsh('blockjob', 'web', 'vda', '--abort');
    await assert.rejects(platform.delete({ ...(await web()) }), { code: 'state' });
    assert.equal((await rollback.find(await web()))?.id, begun.id);
    await write('one');
    assert.match((await rollback.keep(await web())).join(), /vda, vdb since/);
    assert.deepEqual([await overlays(), await rollback.find(await web())], [[], undefined]);
    assert.doesNotMatch(await daemon.virsh('dumpxml', 'web', '--inactive'), /rollback/);
    await assert.rejects(rollback.keep(await web()), { code: 'not-found' });
    const { full, bytes } = await points.backUp();
    assert.deepEqual(full, tracked);
    assert.ok(bytes > 1_500_000 && bytes < 64 * 1024 * 1024, `${bytes} bytes`);
  });

  await t.test('running, with backups between', async () => {
    await write('two');
    await rollback.begin(await web());
    await write('three');
    const between = await points.backUp();
    assert.deepEqual(between.full, tracked);
    assert.match(between.why, /a rollback point of .* is open/);
    assert.match(between.xml, /web-0\.qcow2/);
    assert.doesNotMatch(between.xml, /rollback/);
    await write('four');
    assert.deepEqual((await points.backUp()).full, tracked);
    await write('five');
    await rollback.keep(await web());
    await write('six');
    assert.deepEqual((await points.backUp()).full, tracked);
  });

  await t.test('QEMU is killed between', async () => {
    await rollback.begin(await web());
    await write('seven');
    await crashGuest(world, 'web');
    await startGuest(world, await web());
    await write('eight');
    await rollback.keep(await web());
    // what the merge writes is counted by the bitmaps of the disks themselves
    assert.deepEqual((await points.backUp()).full, tracked);
    assert.deepEqual((await points.backUp()).full, tracked);
  });

  await t.test('QEMU is killed after a backup between', async () => {
    await rollback.begin(await web());
    await write('killed-one');
    await points.backUp();
    await write('killed-two');
    await crashGuest(world, 'web');
    await startGuest(world, await web());
    await write('killed-three');
    await rollback.keep(await web());
    const { full } = await points.backUp();
    assert.ok(
      full.every((why) => /killed or crashed/.test(why ?? '')),
      full.join(),
    );
    assert.deepEqual((await points.backUp()).full, tracked);
  });

  await t.test('begun off, run, and kept off', async () => {
    await platform.power(await web(), 'stop');
    const { quiesced, disks } = await rollback.begin(await web());
    assert.equal(quiesced, false);
    assert.match(await daemon.virsh('domblklist', 'web'), new RegExp(disks[0]?.overlay ?? 'none'));
    await startGuest(world, await web());
    await write('nine');
    assert.deepEqual((await points.backUp()).full, tracked);
    await write('ten');
    await platform.power(await web(), 'stop');
    const cold = await points.backUp();
    assert.deepEqual(cold.full, tracked, cold.why);
    await startGuest(world, await web());
    await write('eleven');
    await platform.power(await web(), 'stop');
    await rollback.keep(await web());
    assert.deepEqual(await overlays(), []);
    assert.doesNotMatch(await daemon.virsh('dumpxml', 'web'), /rollback/);
    assert.deepEqual((await points.backUp()).full, tracked);
    await startGuest(world, await web());
    assert.deepEqual((await points.backUp()).full, tracked);
  });
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});

test('a patch that was bad is undone', async (t) => {
  const world = await rollbackWorld(t);
  const { rollback, points, web, write, overlays, platform, daemon } = world;
  const files = () => shell(world, 'web', 'ls /');

  await t.test('running, with nothing between: the next backup is incremental', async () => {
    await write('before');
    await rollback.begin(await web());
    await write('patched');
    const done = await rollback.undo(await web());
    assert.match(done.join(), /switched off.*as they were.*started/);
    await startGuest(world, await web());
    const found = await files();
    assert.match(found, /before/);
    assert.doesNotMatch(found, /patched/);
    assert.deepEqual([await overlays(), await rollback.find(await web())], [[], undefined]);
    assert.deepEqual((await points.backUp()).full, tracked);
    assert.deepEqual((await points.backUp()).full, tracked);
  });

  await t.test('a point that was made between has another state: all is read once', async () => {
    const other = new TrackedMachine(world, await temporaryFolder(t), 'two');
    await other.backUp();
    await rollback.begin(await web());
    await write('patched');
    assert.deepEqual((await points.backUp()).full, tracked);
    await write('patched-more');
    await rollback.undo(await web());
    await startGuest(world, await web());
    await write('after');
    const { full } = await points.backUp();
    assert.match(full.join(), /bitmap is gone/);
    assert.deepEqual((await points.backUp()).full, tracked);
    // the other repository's newest point is older than the window: its bitmaps are in the bases
    assert.deepEqual((await other.backUp()).full, tracked);
  });

  await t.test('off, and suspended', async () => {
    await platform.power(await web(), 'stop');
    await rollback.begin(await web());
    await startGuest(world, await web());
    await write('patched');
    await platform.power(await web(), 'suspend');
    await assert.rejects(rollback.keep(await web()), { code: 'state' });
    assert.match((await rollback.undo(await web())).join(), /saved memory is removed/);
    assert.equal((await web()).state, 'off');
    assert.deepEqual((await points.backUp()).full, tracked);
    await startGuest(world, await web());
    assert.doesNotMatch(await files(), /patched/);
  });

  await t.test('a snapshot of another tool on top is not lost', async () => {
    await rollback.begin(await web());
    const specs = ['vda', 'vdb'].flatMap((name) => [
      '--diskspec',
      `${name},file=${join(daemon.disks, `theirs-${name}`)}`,
    ]);
    await daemon.virsh('snapshot-create-as', 'web', 's', '--disk-only', '--no-metadata', ...specs);
    await assert.rejects(rollback.keep(await web()), { code: 'refused' });
    await assert.rejects(rollback.undo(await web()), { code: 'refused' });
    assert.equal((await overlays()).length, 2);
    for (const [index, name] of ['vda', 'vdb'].entries()) {
      const { disks } = (await rollback.find(await web())) ?? { disks: [] };
      const overlay = disks[index]?.overlay ?? '';
      await access(overlay);
      await daemon.virsh('blockcommit', 'web', name, '--active', '--pivot', '--wait', '--base', overlay);
    }
    await rollback.keep(await web());
    assert.deepEqual((await points.backUp()).full, tracked);
  });
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
});

test("the firmware's variables go back with the disks, and a copy of the machine's XML is no machine of the note", async (t) => {
  const world = await libvirtWorld(t);
  const { platform, daemon } = world;
  const { rollback } = platform;
  assert.ok(rollback);
  const nvram = join(daemon.disks, 'web.fd');
  const os = `<loader readonly='yes' type='pflash'>/usr/share/none.fd</loader><nvram>${nvram}</nvram>`;
  await writeFile(nvram, 'before');
  const web = await defineGuest(world, 'web', { os });
  await rollback.begin(web);
  await writeFile(nvram, 'patched');
  const xml = (await daemon.virsh('dumpxml', 'web', '--inactive'))
    .replace(/<uuid>.*<\/uuid>/, '')
    .replace('<name>web<', '<name>copy<');
  await writeFile(join(daemon.disks, 'copy.xml'), xml);
  await daemon.virsh('define', join(daemon.disks, 'copy.xml'));
  assert.equal(await rollback.find(await platform.find('copy')), undefined);
  assert.match((await rollback.undo(web)).join(), /firmware's variables are as they were/);
  assert.equal(await readFile(nvram, 'utf8'), 'before');
  assert.deepEqual(
    (await readdir(daemon.disks)).filter((name) => name.includes('rollback')),
    [],
  );
  const disks =
    "<disk type='block' device='disk'><source dev='/dev/null'/><target dev='vdz' bus='virtio'/></disk>";
  const other = await defineGuest(world, 'other', { devices: disks });
  await assert.rejects(rollback.begin(other), { code: 'unsupported', message: /vdz cannot go back/ });
});
