/** Backups and restores of a libvirt host's machines by the command line, where the daemon's folders are at their usual places. */
import assert from 'node:assert/strict';
import { access, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { waitUntil } from '@prima/testbed';
import { type CommandWorld, commandWorld } from './libvirt-command-fixture.ts';
import { defineGuest, shell, startGuest, verifyGuest } from './libvirt-fixture.ts';

interface Backup {
  result: { results: [{ point: { disks: { whyFull?: string }[]; notes: string[]; mode: string } }] };
}

async function pointOf({ prima }: CommandWorld, ...args: string[]) {
  const printed = await prima('--json', '--quiet', 'backup', ...args);
  const { result } = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as Backup;
  return result.results[0].point;
}

test('a machine is backed up and comes back: as itself, as a copy beside it, into a pool', async (t) => {
  const world = await commandWorld(t);
  const { prima, daemon, platform } = world;
  assert.match(await prima('host', 'test', 'lab'), /Host lab is fine/);
  const web = await startGuest(world, await defineGuest(world, 'web'));
  assert.match(await prima('machine', 'list'), /web +running/);
  await prima('backup', 'lab/web');
  const before = await verifyGuest(world, 'web');
  await shell(world, 'web', 'dd if=/dev/urandom of=/more bs=64k count=20; sync');
  const point = await pointOf(world, 'lab/web');
  assert.deepEqual(
    point.disks.map(({ whyFull }) => whyFull),
    [undefined, undefined],
  );

  await prima('restore', 'latest', '--to-host', 'lab', '--as', 'copy', '--start');
  const copy = await startGuest(world, await platform.find('copy'));
  assert.notEqual(copy.id, web.id);
  const [xml, copied] = [await daemon.virsh('dumpxml', 'web'), await daemon.virsh('dumpxml', 'copy')];
  const mac = /<mac address='([^']+)'/;
  assert.notEqual(mac.exec(copied)?.[1], mac.exec(xml)?.[1]);
  const report = await verifyGuest(world, 'copy');
  assert.equal(report.bad, 0);
  assert.ok(report.last >= before.last, `${report.last} of ${before.last}`);
  await platform.power(copy, 'kill');

  const pool = join(daemon.disks, 'pool');
  await daemon.virsh('pool-create-as', 'fast', 'dir', '--target', pool, '--build');
  await prima('restore', 'latest', '--to-host', 'lab', '--as', 'pooled', '--to-pool', 'fast');
  assert.deepEqual((await readdir(pool)).sort(), ['web-0.qcow2', 'web-1.qcow2']);
  const missing = await world.run('restore', 'latest', '--to-host', 'lab', '--as', 'x', '--to-pool', 'slow');
  assert.match(missing.stderr, /no storage pool slow; there are: fast/);

  await platform.power(web, 'kill');
  await prima('machine', 'delete', 'lab/web');
  await assert.rejects(access(join(daemon.disks, 'web-0.qcow2')));
  await prima('restore', 'latest', '--to-host', 'lab', '--start');
  const back = await startGuest(world, await platform.find('web'));
  assert.equal(back.id, web.id);
  assert.equal(mac.exec(await daemon.virsh('dumpxml', 'web'))?.[1], mac.exec(xml)?.[1]);
  assert.equal((await verifyGuest(world, 'web')).bad, 0);
  const again = await world.run('restore', 'latest', '--to-host', 'lab');
  assert.notEqual(again.status, 0);
  assert.match(again.stderr, /there is a machine web on this host/);
  await waitUntil(async () => !/prima-/.test(await daemon.virsh('list', '--all', '--name')), {
    what: 'stand-ins to be gone',
  });
});

test('a warm point, and one of a suspended machine, go on where their memory was taken', async (t) => {
  const world = await commandWorld(t);
  const { prima, platform } = world;
  const web = await startGuest(world, await defineGuest(world, 'web'));
  const warm = await pointOf(world, 'lab/web', '--mode', 'warm');
  assert.equal(warm.mode, 'warm');
  const before = await verifyGuest(world, 'web');
  const comesBack = async () => {
    await platform.power(await platform.find('web'), 'kill');
    await prima('machine', 'delete', 'lab/web');
    await prima('restore', 'latest', '--to-host', 'lab', '--start');
    await startGuest(world, web);
    const after = await verifyGuest(world, 'web');
    assert.deepEqual([after.bad, after.bootId], [0, before.bootId]);
    return after;
  };
  await comesBack();
  await platform.power(web, 'suspend');
  assert.equal((await platform.find('web')).state, 'suspended');
  const cold = await pointOf(world, 'lab/web');
  assert.equal(cold.mode, 'cold');
  await comesBack();
});

test('a machine is restored in its place, or one disk of it; formats and networks are chosen', async (t) => {
  const world = await commandWorld(t);
  const { prima, daemon, platform } = world;
  const web = await startGuest(world, await defineGuest(world, 'web'));
  const before = await verifyGuest(world, 'web');
  await prima('backup', 'lab/web');
  const running = await world.run('restore', 'latest', '--to-host', 'lab', '--replace');
  assert.match(running.stderr, /web is running; stop it before it is replaced/);
  await shell(world, 'web', 'rm -r /data/records; sync');
  await platform.power(web, 'stop');
  const old = (await platform.find('web')).disks.map(({ path }) => path);
  await prima('restore', 'latest', '--to-host', 'lab', '--replace', '--format', 'raw', '--start');
  const back = await startGuest(world, web);
  assert.equal(back.id, web.id);
  assert.deepEqual(
    back.disks.map(({ format }) => format),
    ['raw', 'raw'],
  );
  for (const path of old) await assert.rejects(access(path), path);
  const after = await verifyGuest(world, 'web');
  assert.equal(after.bad, 0);
  assert.ok(after.last >= before.last);

  await shell(world, 'web', 'rm -r /data/records; touch /kept; sync');
  await platform.power(web, 'stop');
  await prima('restore', 'latest', '--to-host', 'lab', '--replace', '--disk', 'vdb', '--start');
  const partly = await startGuest(world, web);
  assert.deepEqual(
    partly.disks.map(({ format }) => format),
    ['raw', 'qcow2'],
  );
  assert.equal(await shell(world, 'web', 'ls /kept'), '/kept');
  assert.ok((await verifyGuest(world, 'web')).last >= before.last);
  assert.deepEqual((await readdir(daemon.disks)).filter((name) => /\.(raw|qcow2)$/.test(name)).length, 2);

  const none = await world.run('restore', 'latest', '--to-host', 'lab', '--as', 'no', '--replace');
  assert.match(none.stderr, /no machine no on this host to be replaced/);
  const rule = await world.run('restore', 'latest', '--to-host', 'lab', '--as', 'x', '--network', 'lan=none');
  assert.match(rule.stderr, /no network card of the machine is on lan/);
  assert.deepEqual((await daemon.virsh('list', '--all', '--name')).trim(), 'web');
});

test('the variables of UEFI and the state of a TPM go with a machine', async (t) => {
  const world = await commandWorld(t);
  const { prima, daemon, platform } = world;
  const os = `<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader><nvram template='/usr/share/OVMF/OVMF_VARS_4M.fd'/>`;
  const devices = `<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>`;
  const web = await defineGuest(world, 'web', { os, devices });
  await daemon.virsh('start', 'web', '--paused'); // both are made by a start
  await daemon.virsh('destroy', 'web');
  const nvram = join(daemon.root, 'qemu/nvram/web_VARS.fd');
  const tpm = (uuid: string) => join(daemon.root, 'swtpm', uuid, 'tpm2/tpm2-00.permall');
  const [variables, state] = [await readFile(nvram), await readFile(tpm(web.id))];
  variables.write('changed by a guest', 4096);
  await writeFile(nvram, variables);
  await prima('backup', 'lab/web');
  await prima('machine', 'delete', 'lab/web');
  await assert.rejects(access(nvram));
  await rm(join(daemon.root, 'swtpm', web.id), { recursive: true, force: true });
  await prima('restore', 'latest', '--to-host', 'lab');
  assert.deepEqual(await readFile(nvram), variables);
  assert.deepEqual(await readFile(tpm(web.id)), state);
  await prima('restore', 'latest', '--to-host', 'lab', '--as', 'copy');
  const copy = await platform.find('copy');
  assert.deepEqual(await readFile(join(daemon.root, 'qemu/nvram/copy_VARS.fd')), variables);
  assert.deepEqual(await readFile(tpm(copy.id)), state);
  for (const name of ['web', 'copy']) {
    await daemon.virsh('start', name, '--paused');
    await daemon.virsh('destroy', name);
  }
});
