/**
 * Changes of disks by a process that dies right before each of its changes of a file, or whose computer does, with all that was not flushed.
 * Whatever the moment, a rename leaves the disk
 * whole under one of its names; and the next command leaves the disk as it was or as it was to become, and nothing else.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, PrimaError, seededRandom } from '@prima/base';
import { type CreateVmdkOptions, checkVmdk, createVmdk, openVmdk } from '@prima/formats';
import { DiskFolder } from '../interop/disk-fixture.ts';
import { type Death, diesAt } from './dead-files.ts';

const size = 6 * MiB;

/** Runs it until it ends by itself; `check` looks at what each death left, before and after the next command. */
async function dieEverywhere(
  args: readonly string[],
  setUp: (folder: string) => Promise<void>,
  check: (folder: string, moment: string) => Promise<void>,
): Promise<number> {
  await dieOf('power cut', args, { setUp, check });
  return dieOf('killed', args, { setUp, check });
}

async function dieOf(
  death: Death,
  args: readonly string[],
  {
    setUp,
    check,
  }: Record<'setUp', (folder: string) => Promise<void>> &
    Record<'check', (folder: string, moment: string) => Promise<void>>,
): Promise<number> {
  await using at = await DiskFolder.make();
  const template = at.at('template');
  await mkdir(template);
  await setUp(template);
  for (let dieAt = 1; ; dieAt += 1) {
    const [folder, home] = [at.at(`disks${dieAt}`), at.at(`home${dieAt}`)];
    await cp(template, folder, { recursive: true });
    await mkdir(home, { mode: 0o700 });
    await using disks = DiskFolder.over(folder, home);
    const moment = `${args.join(' ')}, dead (${death}) from change ${dieAt} on`;
    const died = await diesAt(dieAt, death, async () => {
      const { status, said } = await disks.prima(...args);
      if (status !== 0) throw new Error(`${moment}: ${said}`);
    });
    if (died) await check(folder, `${moment}, as it was left`);
    await disown(join(home, 'journal'));
    const other = await disks.prima('create', 'other.raw', '--size', '1M');
    assert.equal(other.status, 0, `${moment}: ${other.said}`);
    await rm(join(folder, 'other.raw'));
    await check(folder, `${moment}, after the next command`);
    const left = (await readdir(folder)).filter((name) => name.startsWith('.tmp-'));
    assert.deepEqual(left, [], moment);
    const entries = (await readdir(join(home, 'journal'))).filter((name) => !name.startsWith('.tmp-')); // they stay for an hour
    assert.deepEqual(entries, [], moment);
    await rm(folder, { recursive: true });
    if (!died) return dieAt - 1;
  }
}

/** Makes the entries look as if their process had died. */
async function disown(journal: string): Promise<void> {
  const { pid } = spawnSync('true');
  const names = await readdir(journal).catch(() => []);
  for (const name of names) {
    if (!name.endsWith('.json')) continue;
    const record = JSON.parse(await readFile(join(journal, name), 'utf8')) as { owner: { pid: number } };
    record.owner.pid = pid;
    await writeFile(join(journal, name), JSON.stringify(record));
  }
}

async function make(path: string, options: Partial<CreateVmdkOptions>): Promise<void> {
  await createVmdk(path, { createType: 'twoGbMaxExtentSparse', size, ...options });
  const { device } = await openVmdk(path, { writable: true });
  const random = seededRandom(7);
  await device.write(MiB, random.bytes(new Uint8Array(200 * 1024)));
  await device.write(5 * MiB, random.bytes(new Uint8Array(512)));
  await device.close();
}

/** What the first bytes of the disk are; undefined when it is not there as a whole. */
async function hashOf(path: string): Promise<{ hash: string; size: number } | undefined> {
  try {
    const { device } = await openVmdk(path);
    const bytes = new Uint8Array(size);
    await device.read(0, bytes);
    await device.close();
    const hash = createHash('sha256').update(bytes).digest('hex');
    return { hash, size: device.size };
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'not-found') return undefined;
    throw error;
  }
}

const extentsOf = async (folder: string) =>
  (await readdir(folder)).filter((name) => !name.startsWith('.tmp-')).sort();

for (const createType of ['twoGbMaxExtentSparse', 'monolithicSparse', 'vmfs'] as const) {
  test(`rename of ${createType} with a child`, async () => {
    let wanted: string | undefined;
    const moments = await dieEverywhere(
      ['rename', 'a.vmdk', 'renamed.vmdk'],
      async (folder) => {
        await make(join(folder, 'a.vmdk'), { createType });
        await createVmdk(join(folder, 'child.vmdk'), {
          createType: 'monolithicSparse',
          parent: join(folder, 'a.vmdk'),
        });
        wanted = (await hashOf(join(folder, 'a.vmdk')))?.hash;
      },
      async (folder, moment) => {
        const [old, fresh] = [
          await hashOf(join(folder, 'a.vmdk')),
          await hashOf(join(folder, 'renamed.vmdk')),
        ];
        assert.equal((old ?? fresh)?.hash, wanted, `${moment}: the disk is whole`);
        if (!moment.includes('next command')) return;
        assert.ok((old === undefined) !== (fresh === undefined), `${moment}: it has one name`);
        const stem = old ? 'a' : 'renamed';
        const names = await extentsOf(folder);
        assert.ok(
          names.every((name) => name.startsWith(stem) || name === 'child.vmdk'),
          `${moment}: ${names.join(' ')}`,
        );
        assert.equal(
          (await hashOf(join(folder, 'child.vmdk')))?.hash,
          wanted,
          `${moment}: the child follows`,
        );
        assert.deepEqual((await checkVmdk(join(folder, `${stem}.vmdk`))).findings, [], moment);
      },
    );
    assert.ok(moments > 10, `${moments} moments`);
  });
}

for (const createType of ['monolithicSparse', 'twoGbMaxExtentSparse', 'monolithicFlat'] as const) {
  test(`extend of ${createType}`, async () => {
    let wanted: string | undefined;
    const grown = 600 * MiB;
    const moments = await dieEverywhere(
      ['extend', 'a.vmdk', '--size', String(grown)],
      async (folder) => {
        await make(join(folder, 'a.vmdk'), { createType });
        wanted = (await hashOf(join(folder, 'a.vmdk')))?.hash;
      },
      async (folder, moment) => {
        const found = await hashOf(join(folder, 'a.vmdk'));
        assert.equal(found?.hash, wanted, `${moment}: the content stays`);
        assert.ok(found?.size === size || found?.size === grown, `${moment}: ${found?.size} bytes`);
        if (!moment.includes('next command')) return;
        const { findings } = await checkVmdk(join(folder, 'a.vmdk'));
        // of two copies of a table one is written before the other, as in all writing
        const bad = findings.filter(({ code, severity }) => severity !== 'info' && code !== 'copies-differ');
        assert.deepEqual(bad, [], moment);
        if (createType !== 'monolithicFlat') return;
        assert.equal((await stat(join(folder, 'a-flat.vmdk'))).size, found?.size, moment);
      },
    );
    assert.ok(moments > 8, `${moments} moments`);
  });
}

test('delete', async () => {
  const moments = await dieEverywhere(
    ['delete', 'a.vmdk', '--yes'],
    (folder) => make(join(folder, 'a.vmdk'), { createType: 'vmfs' }),
    async (folder, moment) => {
      if (!moment.includes('next command')) return;
      const names = await extentsOf(folder);
      assert.ok(names.length === 0 || names.length === 2, `${moment}: ${names.join(' ')}`);
    },
  );
  assert.ok(moments > 5, `${moments} moments`);
});

test('punch', async () => {
  let wanted: Buffer | undefined;
  await dieEverywhere(
    ['punch', 'a.vmdk'],
    async (folder) => {
      await make(join(folder, 'a.vmdk'), { createType: 'monolithicFlat', allocation: 'eagerzeroedthick' });
      wanted = await readFile(join(folder, 'a-flat.vmdk'));
    },
    async (folder, moment) => {
      assert.ok(wanted?.equals(await readFile(join(folder, 'a-flat.vmdk'))), moment);
    },
  );
});
