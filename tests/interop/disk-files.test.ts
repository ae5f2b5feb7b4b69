/** `prima disk create`, `clone`, `check`, `extend`, `inflate`, `punch`, `rename`, `delete`, held against QEMU's tools. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { MiB, runProgram } from '@prima/base';
import { checkVmdk, openVmdk } from '@prima/formats';
import { DiskFolder, type DiskRun } from './disk-fixture.ts';

/** Kinds that QEMU reads and writes. */
const kinds = [
  'monolithicSparse',
  'monolithicFlat',
  'twoGbMaxExtentSparse',
  'twoGbMaxExtentFlat',
  'vmfs',
  'vmfsThin',
] as const;

const qemuImg = (...args: string[]) => runProgram('qemu-img', args);
const write = (format: string, path: string, ...commands: string[]) =>
  runProgram('qemu-io', ['-f', format, ...commands.flatMap((command) => ['-c', command]), path]);

function ok(run: DiskRun): DiskRun['result'] {
  assert.equal(run.status, 0, run.said);
  return run.result;
}

async function visible(at: DiskFolder): Promise<string[]> {
  return (await readdir(at.path)).filter((name) => name !== '.home').sort();
}

/** What the disk holds, through QEMU, is what the raw file does; and both find it in order. */
async function assertHolds(at: DiskFolder, name: string, raw: string): Promise<void> {
  await qemuImg('compare', at.at(name), at.at(raw));
  assert.deepEqual((await checkVmdk(at.at(name))).findings, []);
  const same = await at.prima('compare', at.at(name), at.at(raw));
  assert.equal(same.status, 0, same.said);
}

for (const kind of kinds) {
  test(`${kind}: created, written by QEMU, extended, renamed, cloned, deleted`, async () => {
    await using at = await DiskFolder.make();
    const created = ok(
      await at.prima('create', 'a.vmdk', '--size', '70M', '--kind', kind, '--adapter', 'ide'),
    );
    assert.equal(created.kind, kind);
    const changes = ['write -P 1 0 64k', 'write -P 2 33M 1M', 'write -P 3 69M 1M'];
    await write('vmdk', at.at('a.vmdk'), ...changes);
    ok(await at.prima('create', 'a.raw', '--size', '70M'));
    await write('raw', at.at('a.raw'), ...changes);
    await assertHolds(at, 'a.vmdk', 'a.raw');

    ok(await at.prima('extend', 'a.vmdk', '--size', '700M'));
    await truncate(at.at('a.raw'), 700 * MiB);
    await assertHolds(at, 'a.vmdk', 'a.raw');
    const later = ['write -P 4 1M 2M', 'write -P 5 600M 3M'];
    await write('vmdk', at.at('a.vmdk'), ...later);
    await write('raw', at.at('a.raw'), ...later);
    await assertHolds(at, 'a.vmdk', 'a.raw');
    const smaller = await at.prima('extend', 'a.vmdk', '--size', '1M');
    assert.equal(smaller.status, 2, smaller.said);

    await mkdir(at.at('other'));
    ok(await at.prima('rename', 'a.vmdk', 'other/b.vmdk'));
    assert.deepEqual(await visible(at), ['a.raw', 'other']);
    await assertHolds(at, 'other/b.vmdk', 'a.raw');
    const clone = ok(await at.prima('clone', 'other/b.vmdk', 'c.vmdk'));
    assert.equal(clone.kind, kind);
    await assertHolds(at, 'c.vmdk', 'a.raw');
    const [first, second] = [await openVmdk(at.at('other/b.vmdk')), await openVmdk(at.at('c.vmdk'))];
    assert.notEqual(first.info.cid, second.info.cid);
    assert.notEqual(first.info.ddb.get('uuid'), second.info.ddb.get('uuid'));
    assert.deepEqual(first.info.geometry, second.info.geometry);
    assert.equal(second.info.adapterType, 'ide');
    await first.device.close();
    await second.device.close();

    const plan = await at.prima('delete', 'other/b.vmdk');
    assert.equal(plan.status, 0, plan.said);
    assert.notDeepEqual(await readdir(at.at('other')), []);
    ok(await at.prima('delete', 'other/b.vmdk', '--yes'));
    assert.deepEqual(await readdir(at.at('other')), []);
  });
}

test('a split disk grows by pieces', async () => {
  await using at = await DiskFolder.make();
  for (const kind of ['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat']) {
    const name = `${kind}.vmdk`;
    ok(await at.prima('create', name, '--size', '1G', '--kind', kind));
    await write('vmdk', at.at(name), 'write -P 1 1000M 1M');
    assert.equal(ok(await at.prima('extend', name, '--size', '5G')).size, 5 * 1024 * MiB);
    const last = ['write -P 2 5100M 1M', 'write -P 3 2046M 4M'];
    await write('vmdk', at.at(name), ...last);
    await runProgram('truncate', ['-s', '5G', at.at(`${kind}.raw`)]);
    await write('raw', at.at(`${kind}.raw`), 'write -P 1 1000M 1M', ...last);
    await assertHolds(at, name, `${kind}.raw`);
    assert.equal((await visible(at)).filter((file) => file.startsWith(`${kind}-`)).length, 3);
  }
});

test('convert makes every kind', async () => {
  await using at = await DiskFolder.make();
  ok(await at.prima('create', 'a.raw', '--size', '40M'));
  await write('raw', at.at('a.raw'), 'write -P 1 3M 1M', 'write -P 2 30M 100k');
  for (const kind of [...kinds, 'vmfsEagerZeroedThick', 'streamOptimized']) {
    ok(await at.prima('convert', 'a.raw', `${kind}.vmdk`, '--kind', kind));
    await assertHolds(at, `${kind}.vmdk`, 'a.raw');
  }
  const { blocks } = await stat(at.at('vmfsEagerZeroedThick-flat.vmdk'));
  assert.ok(blocks * 512 >= 40 * MiB, 'all of it is allocated');
  const refused = await at.prima('create', 'b.vmdk', '--size', '1M', '--kind', 'streamOptimized');
  assert.match(refused.said, /written once, from front to end/);
  assert.equal(refused.status, 23);
});

test('parents: children keep them, follow their names, and keep them from being deleted or extended', async () => {
  await using at = await DiskFolder.make();
  ok(await at.prima('create', 'base.vmdk', '--size', '20M', '--kind', 'monolithicSparse'));
  await write('vmdk', at.at('base.vmdk'), 'write -P 1 0 1M');
  ok(await at.prima('create', 'child.vmdk', '--parent', 'base.vmdk'));
  await write('vmdk', at.at('child.vmdk'), 'write -P 2 512k 1M');
  ok(await at.prima('create', 'log.vmdk', '--parent', 'base.vmdk', '--kind', 'vmfsSparse'));
  ok(await at.prima('convert', 'child.vmdk', 'child.raw'));
  for (const command of [
    ['delete', 'base.vmdk', '--yes'],
    ['extend', 'base.vmdk', '--size', '30M'],
  ]) {
    const { status, said } = await at.prima(...command);
    assert.equal(status, 13, said);
    assert.match(said, /is based on it/);
  }
  ok(await at.prima('clone', 'child.vmdk', 'kept.vmdk', '--keep-parent'));
  ok(await at.prima('clone', 'child.vmdk', 'flat.vmdk'));
  const renamed = await at.prima('rename', 'base.vmdk', 'root.vmdk');
  assert.equal(renamed.status, 0, renamed.said);
  for (const name of ['child.vmdk', 'kept.vmdk', 'flat.vmdk']) await assertHolds(at, name, 'child.raw');
  const { result } = await at.prima('info', 'kept.vmdk');
  assert.deepEqual(
    result.vmdk.parents.map(({ path }) => path),
    [at.at('root.vmdk')],
  );
  assert.equal((await at.prima('info', 'log.vmdk')).status, 0);
});

test('room is taken and given back, and nothing that the disk holds changes', async () => {
  await using at = await DiskFolder.make();
  const changes = ['write -P 1 1M 1M', 'write -P 0 4M 4M', 'write -P 7 16M 64k'];
  for (const kind of ['vmfsThin', 'monolithicFlat', 'monolithicSparse', 'twoGbMaxExtentSparse']) {
    const name = `${kind}.vmdk`;
    ok(await at.prima('create', name, '--size', '32M', '--kind', kind));
    await write('vmdk', at.at(name), ...changes);
    await qemuImg('convert', '-O', 'raw', at.at(name), at.at(`${kind}.raw`));
    const { result, said, status } = await at.prima('punch', name);
    assert.equal(status, 0, said);
    const { before, after } = result as unknown as { before: number; after: number };
    assert.ok(before - after >= 3.9 * MiB, `${kind}: ${before} before, ${after} after`);
    await assertHolds(at, name, `${kind}.raw`);
    const full = ok(await at.prima('inflate', name)) as unknown as { after: number };
    assert.ok(full.after >= 32 * MiB, `${kind}: ${full.after} after inflating`);
    await assertHolds(at, name, `${kind}.raw`);
  }
  const text = await readFile(at.at('vmfsThin.vmdk'), 'utf8');
  assert.doesNotMatch(text, /thinProvisioned/);
});

test('qcow2 and raw: extended, cloned, punched, renamed; snapshots are in the way', async () => {
  await using at = await DiskFolder.make();
  for (const format of ['qcow2', 'raw']) {
    const name = `a.${format}`;
    ok(await at.prima('create', name, '--size', '16M'));
    await write(format, at.at(name), 'write -P 1 1M 1M', 'write -P 0 4M 4M');
    ok(await at.prima('extend', name, '--size', '32M'));
    const info = JSON.parse((await qemuImg('info', '--output=json', '-f', format, at.at(name))).stdout) as {
      'virtual-size': number;
    };
    assert.equal(info['virtual-size'], 32 * MiB);
    ok(await at.prima('punch', name));
    ok(await at.prima('clone', name, `b.${format}`));
    await qemuImg('compare', '-f', format, '-F', format, at.at(name), at.at(`b.${format}`));
    ok(await at.prima('rename', name, `c.${format}`));
    assert.equal((await at.prima('check', `c.${format}`)).status, 0);
    const wrong = await at.prima('rename', `c.${format}`, 'c.vmdk');
    assert.equal(wrong.status, 2, wrong.said);
  }
  await qemuImg('snapshot', '-c', 's1', at.at('c.qcow2'));
  const refused = await at.prima('extend', 'c.qcow2', '--size', '64M');
  assert.equal(refused.status, 13, refused.said);
  assert.match(refused.said, /internal snapshots \(s1\)/);
  ok(await at.prima('inflate', 'b.qcow2'));
  assert.ok((await stat(at.at('b.qcow2'))).blocks * 512 >= 32 * MiB);
});

test('check tells what is wrong by its exit status, repair mends it', async () => {
  await using at = await DiskFolder.make();
  ok(await at.prima('create', 'a.vmdk', '--size', '70M', '--kind', 'monolithicSparse'));
  await write('vmdk', at.at('a.vmdk'), 'write -P 1 1M 1M');
  assert.equal((await at.prima('check', 'a.vmdk')).status, 0);
  const bytes = await readFile(at.at('a.vmdk'));
  bytes[72] = 1; // uncleanShutdown
  await writeFile(at.at('a.vmdk'), bytes);
  assert.equal((await at.prima('check', 'a.vmdk')).status, 24);
  const look = await at.prima('repair', 'a.vmdk');
  assert.equal(look.status, 24, look.said);
  assert.equal((await readFile(at.at('a.vmdk')))[72], 1);
  ok(await at.prima('repair', 'a.vmdk', '--yes'));
  assert.equal((await at.prima('check', 'a.vmdk')).status, 0);
  await truncate(at.at('a.vmdk'), MiB / 8);
  assert.equal((await at.prima('check', 'a.vmdk')).status, 24);
});
