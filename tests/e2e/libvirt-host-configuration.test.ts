/** The configuration of a libvirt host goes into a point, is compared, and makes a fresh host like the first. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { createApplication } from '@prima/server';
import { type LibvirtDaemon, startLibvirtDaemon, temporaryFolder } from '@prima/testbed';

const uuid = '6b1c4ac5-9d7c-4b0f-8f3e-1d2c3b4a5f60';

async function configure(daemon: LibvirtDaemon, folder: string): Promise<void> {
  const define = async (command: string, xml: string) => {
    const path = join(folder, 'definition.xml');
    await writeFile(path, xml);
    await daemon.virsh(command, path);
  };
  await define(
    'net-define',
    "<network><name>back office</name><forward mode='bridge'/><bridge name='br-prima'/></network>",
  );
  await daemon.virsh('net-autostart', 'back office');
  await define(
    'net-define',
    "<network><name>lonely</name><bridge name='virbr-p0'/><ip address='192.168.231.1' netmask='255.255.255.0'/></network>",
  );
  await mkdir(join(daemon.folder, 'pool'), { recursive: true });
  await define(
    'pool-define',
    `<pool type='dir'><name>fast</name><target><path>/var/lib/libvirt/fast</path></target></pool>`,
  );
  await daemon.virsh('pool-build', 'fast');
  await daemon.virsh('pool-start', 'fast');
  await daemon.virsh('pool-autostart', 'fast');
  await define(
    'nwfilter-define',
    "<filter name='z-base' chain='root'><rule action='drop' direction='in'/></filter>",
  );
  await define('nwfilter-define', "<filter name='a-guest'><filterref filter='z-base'/></filter>");
  await define(
    'secret-define',
    `<secret ephemeral='no' private='no'><uuid>${uuid}</uuid><usage type='ceph'><name>client.prima secret</name></usage></secret>`,
  );
  await daemon.virsh('secret-set-value', uuid, Buffer.from('the hidden value').toString('base64'));
  const hooks = join(daemon.folder, 'etc/hooks');
  await mkdir(join(hooks, 'qemu.d'), { recursive: true });
  await writeFile(join(hooks, 'qemu'), '#!/bin/sh\nexit 0\n');
  await writeFile(join(hooks, 'qemu.d/10-notify'), '#!/bin/sh\nexit 0\n');
  await chmod(join(hooks, 'qemu'), 0o755);
}

test("a fresh host gets what a host's point has", async (t) => {
  const folder = await temporaryFolder(t);
  const [old, fresh] = [await startLibvirtDaemon(t), await startLibvirtDaemon(t)];
  await configure(old, folder);
  const api = await createApplication({
    home: join(folder, 'home'),
    repository: join(folder, 'repository'),
    secret: async () => ({ kind: 'passphrase', text: 'a passphrase of the tests' }),
  });
  t.after(() => api.close());
  await api.init({});
  await api.hostAdd({ name: 'old', platform: 'libvirt', location: old.uri });
  await api.hostAdd({ name: 'fresh', platform: 'libvirt', location: fresh.uri });
  const point = await api.hostBackup({ host: 'old', tags: ['nightly'] });
  const name = 'host:old@latest';

  await t.test('its point is one of the repository like any other', async () => {
    assert.deepEqual([point.machine, point.isHost, point.disks, point.warnings], ['host:old', true, [], []]);
    assert.equal((await api.points({ machine: 'host:old' })).length, 1);
    assert.equal((await api.show({ point: name })).files.length, point.files.length);
    const { ok, faults } = await api.check({ readData: true });
    assert.ok(ok, JSON.stringify(faults));
    const restored = await api.restoreToFolder({ point: name, folder: join(folder, 'out') });
    assert.ok(restored.files.length > 6);
    assert.match(await readFile(join(folder, 'out/networks-back%20office.xml'), 'utf8'), /br-prima/);
    await assert.rejects(api.restoreToHost({ point: name, host: 'fresh' }), /prima host restore/);
    await assert.rejects(api.export({ point: name, socket: join(folder, 's') }), { code: 'unsupported' });
  });

  await t.test('on another host is what it lacks', async () => {
    const { items } = await api.hostDiff({ point: name, with: 'fresh' });
    assert.deepEqual(
      items.map(({ item, change }) => `${change} ${item}`),
      [
        'removed etc/libvirt/hooks/qemu',
        'removed etc/libvirt/hooks/qemu.d/10-notify',
        'removed networks/back%20office',
        'removed networks/lonely',
        'removed nwfilters/a-guest',
        'removed nwfilters/z-base',
        'removed pools/fast',
        `removed secrets/${uuid}`,
      ],
    );
    assert.deepEqual((await api.hostDiff({ point: name })).items, []);
  });

  const actions = async (request: { only?: string[]; replace?: boolean; dryRun?: boolean } = {}) => {
    const { items } = await api.hostRestore({ point: name, host: 'fresh', ...request });
    return Object.fromEntries(items.map(({ item, action, notes }) => [item, [action, ...notes].join(': ')]));
  };

  await t.test('a dry run changes nothing', async () => {
    assert.equal((await actions({ dryRun: true }))['pools/fast'], 'defined');
    assert.equal((await fresh.virsh('pool-list', '--all', '--name')).trim(), '');
  });

  await t.test('one thing, then all the others, then the files by name', async () => {
    assert.deepEqual(await actions({ only: ['networks/lonely'] }), { 'networks/lonely': 'defined' });
    await assert.rejects(actions({ only: ['networks/other'] }), { code: 'not-found' });
    const all = await actions();
    assert.equal(all['networks/lonely'], 'same');
    for (const item of ['networks/back%20office', 'pools/fast', 'nwfilters/a-guest', `secrets/${uuid}`])
      assert.equal(all[item], 'defined', item);
    assert.match(all['etc/libvirt/hooks/qemu'] ?? '', /^left-out: a file: --only etc/);
    assert.match(
      (await actions({ only: ['etc/libvirt/hooks'] }))['etc/libvirt/hooks/qemu'] ?? '',
      /^defined/,
    );
    assert.deepEqual((await api.hostDiff({ point: name, with: 'fresh' })).items, []);
    assert.match(await fresh.virsh('pool-info', 'fast'), /State: +running[^]*Autostart: +yes/);
    assert.match(await fresh.virsh('net-info', 'back office'), /Autostart: +yes/);
    const value = await fresh.virsh('secret-get-value', uuid);
    assert.equal(Buffer.from(value.trim(), 'base64').toString(), 'the hidden value');
    const { mode } = await stat(join(fresh.folder, 'etc/hooks/qemu'));
    assert.equal(mode & 0o777, 0o755);
  });

  await t.test('what is there and different is kept, and replaced when that is told', async () => {
    const xml = (await fresh.virsh('net-dumpxml', '--inactive', 'lonely')).replaceAll('231.1', '232.1');
    await writeFile(join(folder, 'other.xml'), xml);
    await fresh.virsh('net-define', join(folder, 'other.xml'));
    await fresh.virsh('secret-set-value', uuid, Buffer.from('another').toString('base64'));
    const { items } = await api.hostDiff({ point: name, with: 'fresh' });
    assert.match(JSON.stringify(items), /231\.1.*232\.1/);
    assert.match(JSON.stringify(items), /value: set \(not shown\)/);
    assert.doesNotMatch(JSON.stringify(items), /hidden|aGlkZGVu|another/);
    const kept = await actions();
    assert.match(kept['networks/lonely'] ?? '', /^kept/);
    assert.match(await fresh.virsh('net-dumpxml', 'lonely'), /232\.1/);
    assert.match((await actions({ replace: true }))['networks/lonely'] ?? '', /^replaced/);
    assert.deepEqual((await api.hostDiff({ point: name, with: 'fresh' })).items, []);
  });

  await t.test('later points are compared, kept by rules, and copied', async () => {
    await old.virsh('nwfilter-undefine', 'a-guest');
    await rm(join(old.folder, 'etc/hooks/qemu'));
    const second = await api.hostBackup({ host: 'old' });
    const { items } = await api.hostDiff({ point: point.id, with: second.id });
    assert.deepEqual(
      items.map(({ item, change }) => [item, change]),
      [
        ['etc/libvirt/hooks/qemu', 'removed'],
        ['nwfilters/a-guest', 'removed'],
      ],
    );
    assert.deepEqual((await api.diff({ a: point.id, b: second.id })).disks, []);
    const to = { url: join(folder, 'copy'), secret: { kind: 'passphrase' as const, text: 'other' } };
    await api.copyCreate({ to });
    const copied = await api.copy({ all: true, to, verify: true });
    assert.deepEqual(
      copied.results.map(({ state }) => state),
      ['copied', 'copied'],
    );
    const { forgotten } = await api.forget({ keep: { last: 1 } });
    assert.deepEqual(
      forgotten.map(({ id }) => id),
      [point.id],
    );
    await api.collect({ waitMs: 0 });
    assert.equal((await api.check({ readData: true })).ok, true);
    assert.deepEqual((await api.hostDiff({ point: second.id })).items, []);
  });
});
