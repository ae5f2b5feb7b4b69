/** Disks that a libvirt machine has from a network, RBD and iSCSI: read while it runs, with real servers, and deduplicated. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import {
  ensureDebianPackages,
  packagesFor,
  randomFile,
  startIscsiTarget,
  startRbdPool,
  temporaryFolder,
} from '@prima/testbed';
import { type CommandWorld, commandWorld } from './libvirt-command-fixture.ts';
import { assertSameFiles } from './qemu-host-fixture.ts';

interface Backup {
  result: {
    results: [{ point: { id: string; disks: { whyFull?: string; read: number; added: number }[] } }];
  };
}

async function pointOf({ prima }: CommandWorld) {
  const printed = await prima('--json', '--quiet', 'backup', 'lab/web');
  const { result } = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as Backup;
  return result.results[0].point;
}

const size = 16 * MiB;

test('disks on RBD and iSCSI are read hot, wholly and once, and come back', async (t) => {
  await ensureDebianPackages(packagesFor('luns', 'rbd'));
  const folder = await temporaryFolder(t);
  const at = (name: string) => join(folder, name);
  for (const [index, name] of ['image', 'lun'].entries())
    await randomFile(at(name), { size, dataFraction: 0.5, seed: index });
  const target = await startIscsiTarget(t);
  await target.add(1, at('lun'), 'LUN0001');
  const pool = await startRbdPool(t);
  await pool.add('web', at('image'));
  const world = await commandWorld(t);
  const { daemon, prima } = world;

  const uuid = '11111111-2222-4333-8444-555555555555';
  const secret = `<secret ephemeral='no' private='no'><uuid>${uuid}</uuid><usage type='ceph'><name>disks</name></usage></secret>`;
  await writeFile(at('secret.xml'), secret);
  await daemon.virsh('secret-define', at('secret.xml'));
  await daemon.virsh('secret-set-value', uuid, '--base64', pool.key);
  const { hostname, port, pathname } = new URL(target.url(1).replace('iscsi:', 'http:'));
  const iscsi = pathname.slice(1);
  const disk = (dev: string, source: string) =>
    `<disk type='network' device='disk'><driver name='qemu' type='raw'/>${source}<target dev='${dev}' bus='virtio'/></disk>`;
  const disks = [
    disk(
      'vda',
      `<auth username='admin'><secret type='ceph' uuid='${uuid}'/></auth><source protocol='rbd' name='${pool.name}/web'><host name='127.0.0.1' port='${pool.port}'/></source>`,
    ),
    disk(
      'vdb',
      `<source protocol='iscsi' name='${iscsi}'><host name='${hostname}' port='${port}'/></source>`,
    ),
  ];
  const xml = `<domain type='qemu'><name>web</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type></os><devices>${disks.join('')}</devices></domain>`;
  await writeFile(at('web.xml'), xml);
  await daemon.virsh('define', at('web.xml'));
  await daemon.virsh('start', 'web');

  const shown = await prima('machine', 'show', 'lab/web');
  assert.match(shown, /vda.*16\.0 MiB.*rbd:disks\/web|rbd:disks\/web.*16\.0 MiB/);
  assert.match(shown, /iscsi:\/\/127\.0\.0\.1:\d+\/iqn/);
  const first = await pointOf(world);
  for (const { read, added } of first.disks) assert.ok(read >= size / 4 && added > 0, `${read}, ${added}`);
  const second = await pointOf(world);
  for (const { whyFull, read, added } of second.disks) {
    assert.match(whyFull ?? '', /a raw disk keeps no change bitmap/);
    assert.ok(read >= size / 4, String(read));
    assert.equal(added, 0);
  }
  await prima('restore', 'latest', '--to', at('restored'), '--format', 'raw');
  await assertSameFiles(at('restored/vda.raw'), at('image'));
  await assertSameFiles(at('restored/vdb.raw'), at('lun'));

  await daemon.virsh('destroy', 'web');
  const auth = `<auth type='ceph' username='admin'><secret uuid='${uuid}'/></auth>`;
  const source = `<source><name>${pool.name}</name><host name='127.0.0.1' port='${pool.port}'/>${auth}</source>`;
  await writeFile(at('pool.xml'), `<pool type='rbd'><name>cluster</name>${source}</pool>`);
  await daemon.virsh('pool-create', at('pool.xml'));
  await prima('restore', 'latest', '--to-host', 'lab', '--as', 'copy', '--to-pool', 'cluster');
  assert.match(await prima('machine', 'show', 'lab/copy'), /rbd:disks\/copy-vdb/);
  for (const [dev, name] of [
    ['vda', 'image'],
    ['vdb', 'lun'],
  ]) {
    await pool.read(`copy-${dev}`, at(`copy-${dev}`));
    await assertSameFiles(at(`copy-${dev}`), at(name ?? ''));
  }
  const cold = await pointOf(world);
  for (const { added } of cold.disks) assert.equal(added, 0);
});
