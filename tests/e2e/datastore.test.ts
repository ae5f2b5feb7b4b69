/** `prima datastore` and `prima machine config show`, typed as a person types them, on files of QEMU's own tools. */
import assert from 'node:assert/strict';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import type { DatastoreReportDto } from '@prima/api';
import { MiB, runProgram } from '@prima/base';
import { place } from '../interop/prima-fixture.ts';

const vmx = [
  '.encoding = "UTF-8"',
  'displayName = "web"',
  'uuid.bios = "56 4d 01 02 03 04 05 06-07 08 09 0a 0b 0c 0d 0e"',
  'memsize = "512"',
  'numvcpus = "2"',
  'scsi0.present = "TRUE"',
  'scsi0.virtualDev = "virtio-blk"',
  'scsi0:0.present = "TRUE"',
  'scsi0:0.fileName = "web.qcow2"',
  'prima.scsi0:0.format = "qcow2"',
].join('\n');

test('a datastore says who uses what, what is missing, and what nobody refers to', async (t) => {
  const { at, run, good } = await place(t);
  const qemuImg = (...args: string[]) => runProgram('qemu-img', ['create', '-q', ...args]);
  await mkdir(at('one/web'), { recursive: true });
  await mkdir(at('two'));
  await writeFile(at('one/web/web.vmx'), `${vmx}\n`);
  await qemuImg('-f', 'qcow2', at('two/base.qcow2'), '8M');
  await qemuImg('-f', 'qcow2', '-b', at('two/base.qcow2'), '-F', 'qcow2', at('one/web/web.qcow2'));
  await qemuImg('-f', 'vmdk', '-o', 'subformat=monolithicFlat', at('two/lost.vmdk'), '4M');
  const show = async (...names: string[]): Promise<DatastoreReportDto> => {
    const lines = (await good('--json', '--quiet', 'datastore', 'show', ...names)).trim().split('\n');
    return (JSON.parse(lines.at(-1) ?? '') as { result: DatastoreReportDto }).result;
  };
  const orphans = ({ orphans: found }: DatastoreReportDto) => found.map(({ path }) => path).sort();

  assert.match(await good('datastore', 'list'), /No datastores/);
  await good('datastore', 'add', 'fast', at('one'), at('two'));
  assert.match(await good('datastore', 'list'), /fast/);
  assert.equal((await run('datastore', 'add', 'fast', at('two'))).status, 4);
  const report = await show('fast');
  assert.deepEqual(
    report.machines.map(({ name, disks }) => [name, disks.map(({ files }) => files.map(({ path }) => path))]),
    [['web', [[at('one/web/web.qcow2'), at('two/base.qcow2')]]]],
  );
  assert.deepEqual(orphans(report), [at('two/lost-flat.vmdk'), at('two/lost.vmdk')]);
  assert.deepEqual(report.missing, []);
  const text = await good('datastore', 'show', 'fast');
  assert.match(text, /lost-flat\.vmdk/);
  assert.match(text, /Prima deletes none of them/);

  await rm(at('two/base.qcow2'));
  const [missing] = (await show('fast')).missing;
  assert.equal(missing?.path, at('two/base.qcow2'));
  assert.equal(missing?.neededBy, at('one/web/web.qcow2'));
  assert.deepEqual(orphans(await show(at('two'))), orphans(report), 'folders need no name');
  assert.deepEqual((await readdir(at('two'))).sort(), ['lost-flat.vmdk', 'lost.vmdk'], 'nothing is changed');
  await good('datastore', 'remove', 'fast');
  assert.equal((await run('datastore', 'show', 'fast')).status, 3);
});

interface Described {
  name: string;
  memoryBytes: number;
  cpus: { count: number };
  disks: unknown[];
}

test('a configuration is shown in the words of every kind of host, and read back', async (t) => {
  const { at, run, good } = await place(t);
  await mkdir(at('lab/web'), { recursive: true });
  await writeFile(at('lab/web/web.vmx'), `${vmx}\n`);
  await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', at('lab/web/web.qcow2'), '8M']);
  await good('host', 'add', 'lab', at('lab'));
  const described = async (source: string) =>
    JSON.parse(await good('machine', 'config', 'show', source)) as Described;
  const hardware = ({ name, memoryBytes, cpus, disks }: Described) =>
    [name, memoryBytes, cpus.count, disks.length] as const;
  const wanted = await described('lab/web');
  assert.deepEqual(hardware(wanted), ['web', 512 * MiB, 2, 1]);
  assert.deepEqual(await described(at('lab/web/web.vmx')), wanted);
  await good('init');
  await good('backup', 'lab/web');
  assert.deepEqual(await described('latest'), wanted);
  for (const [dialect, file, mark] of [
    ['vmx', 'a.vmx', /displayName = "web"/],
    ['ovf', 'a.ovf', /<Envelope /],
    ['libvirt', 'a.xml', /<domain /],
    ['qemu', 'a.args', /-name/],
  ] as const) {
    const { status, stdout, stderr } = await run('machine', 'config', 'show', 'lab/web', '--as', dialect);
    assert.equal(status, 0, stderr);
    assert.match(stdout, mark);
    await writeFile(at(file), stdout);
    assert.deepEqual(hardware(await described(at(file))), hardware(wanted), dialect);
  }
  await runProgram('xmllint', ['--noout', at('a.ovf'), at('a.xml')]);
});
