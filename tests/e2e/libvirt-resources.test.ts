/** What libvirt machines may use is read, set where the host can, and comes back with a restore. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandWorld } from './libvirt-command-fixture.ts';
import { defineGuest } from './libvirt-fixture.ts';

const MiB = 1024 * 1024;

test('settings hold now where the host can, in the configuration, and in what is restored', async (t) => {
  const world = await commandWorld(t);
  const { prima, run, daemon, platform } = world;
  const web = await defineGuest(world, 'web');
  const set = async (...args: string[]) => prima('machine', 'resources', 'set', 'lab/web', ...args);
  assert.match(
    await set('--memory-max', '256M', '--memory', '200M', '--vcpus-max', '3', '--vcpus', '2'),
    /memory: set in/,
  );
  await set('--cpu-shares', '512', '--cpu-period', '50000', '--cpu-quota', '25000');
  await set('--memory-hard-limit', '1G', '--memory-soft-limit', '512M', '--blkio-weight', '300');
  await set(
    '--disk',
    'vda:read-bytes=50M',
    '--disk',
    'vda:total-iops=500',
    '--disk',
    'vdb:write-bytes-burst=4M',
    '--disk',
    'vdb:write-bytes=2M',
  );
  const wanted = {
    machine: {
      vcpus: 2,
      'vcpus-max': 3,
      memory: 200 * MiB,
      'memory-max': 256 * MiB,
      'cpu-shares': 512,
      'cpu-period': 50_000,
      'cpu-quota': 25_000,
      'memory-hard-limit': 1024 * MiB,
      'memory-soft-limit': 512 * MiB,
      'blkio-weight': 300,
    },
    disks: [
      { disk: 'vda', limits: { 'read-bytes': 50 * MiB, 'total-iops': 500 } },
      { disk: 'vdb', limits: { 'write-bytes': 2 * MiB, 'write-bytes-burst': 4 * MiB } },
    ],
  };
  const found = await platform.resources?.read(web);
  assert.deepEqual(found, { config: wanted, notes: [] });
  assert.match(await prima('machine', 'resources', 'lab/web'), /vda read-bytes +50.0 MiB\/s/);

  await t.test('a limit leaves the others of its disk', async () => {
    await set('--disk', 'vdb:read-bytes=1M');
    const again = await platform.resources?.read(web);
    assert.equal(again?.config.disks[1]?.limits['write-bytes'], 2 * MiB);
    await set('--disk', 'vdb:read-bytes=0');
    assert.deepEqual(await platform.resources?.read(web), { config: wanted, notes: [] });
  });

  await t.test('they come back with a restore', async () => {
    await prima('backup', 'lab/web');
    await prima('machine', 'delete', 'lab/web');
    await prima('restore', 'web@latest', '--to-host', 'lab');
    assert.deepEqual(await platform.resources?.read(await platform.find('web')), {
      config: wanted,
      notes: [],
    });
  });

  await t.test('what cannot be, is said', async () => {
    const { status, stderr } = await run(
      'machine',
      'resources',
      'set',
      'lab/web',
      '--disk',
      'vdz:read-bytes=1M',
    );
    assert.deepEqual([status, /it has vda, vdb/.test(stderr)], [3, true], stderr);
    assert.equal((await run('machine', 'resources', 'set', 'lab/web', '--disk', 'vda:speed=1M')).status, 2);
    assert.equal((await run('machine', 'resources', 'set', 'lab/web')).status, 2);
  });

  await t.test(
    'while it runs: disks at once, and without cgroups the rest from the next start on',
    async () => {
      // without cgroups QEMU cannot be started with limits that only they can keep
      const xml = (await daemon.virsh('dumpxml', 'web', '--inactive')).replace(
        /<(cputune|memtune|blkiotune)>[^]*?<\/\1>/g,
        '',
      );
      const path = join(daemon.disks, 'again.xml');
      await writeFile(path, xml);
      await daemon.virsh('define', path);
      await platform.power(await platform.find('web'), 'start');
      const machine = await platform.find('web');
      assert.match(
        await set('--disk', 'vda:read-bytes=20M'),
        /vda read-bytes: set now and in the configuration/,
      );
      assert.match(
        await set('--cpu-shares', '256'),
        /cpu-shares: set in the configuration; it holds from the next start on: /,
      );
      const { live, config, notes = [] } = (await platform.resources?.read(machine)) ?? {};
      for (const settings of [live, config]) {
        const [{ disk, limits } = { disk: '', limits: {} }] = settings?.disks ?? [];
        assert.deepEqual([disk, limits], ['vda', { 'read-bytes': 20 * MiB, 'total-iops': 500 }]);
      }
      assert.equal(config?.machine['cpu-shares'], 256);
      assert.match(notes.join(), /cpu-shares, cpu-period, cpu-quota as they are now: /);
      await platform.power(machine, 'kill');
    },
  );
});
