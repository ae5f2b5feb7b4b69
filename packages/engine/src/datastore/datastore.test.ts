import assert from 'node:assert/strict';
import { mkdir, readdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createVmdk, newDescription, writeConfiguration } from '@prima/formats';
import { temporaryFolder } from '@prima/testbed';
import { type DatastoreReport, kindOf, lookAtDatastore } from './datastore.ts';

const MiB = 1024 * 1024;

async function put(path: string, body: string | Uint8Array = 'x'): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, body);
}

function vmx(...disks: string[]): string {
  const lines = disks.map((name, unit) => `scsi0:${unit}.fileName = "${name}"`);
  return ['displayName = "web"', 'memsize = "64"', ...lines, ''].join('\n');
}

/** Version 3, with a backing file. */
function qcow2(backing?: string): Buffer {
  const header = Buffer.alloc(512);
  header.writeUInt32BE(0x514649fb, 0);
  header.writeUInt32BE(3, 4);
  header.writeBigUInt64BE(BigInt(MiB), 24);
  header.writeUInt32BE(104, 100);
  if (backing !== undefined) {
    header.writeBigUInt64BE(200n, 8);
    header.writeUInt32BE(backing.length, 16);
    header.write(backing, 200);
  }
  return header;
}

async function world(t: TestContext) {
  const folder = await temporaryFolder(t);
  const at = (...names: string[]) => join(folder, ...names);
  const names = (paths: readonly { path: string }[]) =>
    paths.map(({ path }) => path.slice(folder.length + 1)).sort();
  return { folder, at, names };
}

const roles = ({ machines }: DatastoreReport) =>
  machines.flatMap(({ disks }) =>
    disks.flatMap(({ files }) => files.map(({ path, role }) => `${role} ${path.split('/').at(-1)}`)),
  );

test('chains are followed to their ends, whatever they are made of', async (t) => {
  const { folder, at, names } = await world(t);
  await mkdir(at('web'));
  await createVmdk(at('web/base.vmdk'), { createType: 'vmfs', size: MiB });
  await createVmdk(at('web/web-000001.vmdk'), { createType: 'vmfsSparse', parent: at('web/base.vmdk') });
  await put(at('web/top.qcow2'), qcow2('../shared/base.qcow2'));
  await put(at('shared/base.qcow2'), qcow2());
  await put(at('web/top.qcow2.REDO'), qcow2('top.qcow2'));
  const log = { id: '0123abcd', files: ['top.qcow2.REDO'], purpose: 'asked', made: '2026-01-01T00:00:00Z' };
  const record = { version: 1, disk: 'top.qcow2', kind: 'qcow2', logs: [log] };
  await put(at('web/top.qcow2.redo.json'), JSON.stringify(record));
  await put(at('web/web.vmx'), vmx('web-000001.vmdk', '/vmfs/volumes/ds/web/top.qcow2'));
  await put(at('web/web.log'));
  const report = await lookAtDatastore([folder]);
  assert.deepEqual(roles(report).sort(), [
    'backing file base.qcow2',
    'disk top.qcow2',
    'disk web-000001.vmdk',
    'extent base-flat.vmdk',
    'extent web-000001-delta.vmdk',
    'parent base.vmdk',
    'redo log top.qcow2.REDO',
    'redo record top.qcow2.redo.json',
  ]);
  assert.deepEqual([names(report.orphans), report.missing, report.unreadable], [[], [], []]);
  const [machine] = report.machines;
  assert.equal(machine?.disks[0]?.capacity, MiB);
  assert.ok((machine?.logicalBytes ?? 0) > MiB && (machine?.allocatedBytes ?? 0) < MiB);
  assert.ok(report.folders[0] && report.folders[0].freeBytes > 0);
});

test('orphans of every kind, with the reason, and what is missing', async (t) => {
  const { folder, at, names } = await world(t);
  await mkdir(at('old'));
  await createVmdk(at('old/old.vmdk'), { createType: 'vmfs', size: MiB });
  for (const name of [
    'a.vmdk.REDO',
    'a.vmdk.REDO.REDO',
    'a.vmdk.REDO_Ab12Cd',
    'b.raw.redo.json',
    's.vmsn',
    's.vmem',
  ])
    await put(at('old', name));
  await put(at('web/web.vmx'), vmx('gone.vmdk', 'web.qcow2', '/elsewhere/not-ours.vmdk'));
  await put(at('web/web.qcow2'), qcow2('lost.raw'));
  await put(at('web/README.txt'));
  const report = await lookAtDatastore([folder]);
  assert.deepEqual(names(report.orphans), [
    'old/a.vmdk.REDO',
    'old/a.vmdk.REDO.REDO',
    'old/a.vmdk.REDO_Ab12Cd',
    'old/b.raw.redo.json',
    'old/old-flat.vmdk',
    'old/old.vmdk',
    'old/s.vmem',
    'old/s.vmsn',
  ]);
  const why = (name: string) => report.orphans.find(({ path }) => path === at('old', name))?.why ?? '';
  assert.match(why('old.vmdk'), /none of the 1 machines/);
  assert.match(why('old-flat.vmdk'), new RegExp(`belongs to ${at('old/old.vmdk')}`));
  assert.deepEqual(names(report.missing), ['web/gone.vmdk', 'web/lost.raw']);
  assert.deepEqual(
    report.missing.map(({ neededBy }) => neededBy),
    ['web (scsi0:0)', at('web/web.qcow2')],
  );
  assert.equal((await readdir(at('old'))).length, 8);
});

test("snapshots' disks and memory, and what older ESX calls a redo log, are in use", async (t) => {
  const { folder, at, names } = await world(t);
  await put(
    at('web/web.vmx'),
    `${vmx('web.raw')}scsi0:0.redo = "web.raw.REDO_a1"\ncheckpoint.vmState = "x.vmss"\n`,
  );
  await put(
    at('web/web.vmsd'),
    'snapshot0.filename = "web-Snapshot1.vmsn"\nsnapshot0.disk0.fileName = "branch.raw"\n',
  );
  for (const name of ['web.raw', 'branch.raw', 'web.raw.REDO_a1', 'x.vmss', 'x.vmem', 'web-Snapshot1.vmsn'])
    await put(at('web', name));
  const report = await lookAtDatastore([folder]);
  assert.deepEqual(names(report.orphans), []);
});

test('machines of other dialects, in other folders, and on hosts elsewhere', async (t) => {
  const { at, names } = await world(t);
  const disk = (location: string) => ({
    slot: { bus: 'sata' as const, controller: 0, unit: 0 },
    source: { kind: 'file' as const, location },
    format: 'raw',
  });
  const description = (location: string) => ({
    ...newDescription('m'),
    memoryBytes: 64 * MiB,
    disks: [disk(location)],
  });
  await put(at('one/domain.xml'), writeConfiguration(description(at('two/a.raw')), 'libvirt').result);
  await put(at('one/pool.xml'), '<pool/>');
  await put(at('two/p.ovf'), writeConfiguration(description('b.raw'), 'ovf').result);
  await put(at('host/c/c.vmx'), vmx(at('two/c.raw')));
  for (const name of ['a.raw', 'b.raw', 'c.raw', 'd.raw']) await put(at('two', name));
  const both = await lookAtDatastore([at('one'), at('two')], { configurations: [at('host/c/c.vmx')] });
  assert.deepEqual(names(both.orphans), ['two/d.raw']);
  assert.deepEqual(both.unreadable, []);
  const alone = await lookAtDatastore([at('two')]);
  assert.deepEqual(names(alone.orphans), ['two/a.raw', 'two/c.raw', 'two/d.raw']);
  await assert.rejects(lookAtDatastore([]), { code: 'usage' });
  await assert.rejects(lookAtDatastore(Array.from({ length: 33 }, () => at('one'))), {
    code: 'usage',
    message: /1 to 32 folders, not 33/,
  });
  await assert.rejects(lookAtDatastore([at('nothing')]), { code: 'not-found' });
});

test('what cannot be read is said, and makes orphans doubtful', async (t) => {
  const { folder, at, names } = await world(t);
  await put(at('web/web.vmx'), 'this is none');
  await put(at('web/web.vmdk'), 'KDMV and then nothing');
  await put(at('web/broken.xml'), '<domain>');
  await put(at('data.raw'));
  await symlink(at('data.raw'), at('link.raw'));
  const report = await lookAtDatastore([folder], { unreadable: [{ path: '/host', why: 'gone' }] });
  assert.deepEqual(names(report.unreadable.filter(({ path }) => path !== '/host')), [
    'link.raw',
    'web/broken.xml',
    'web/web.vmdk',
    'web/web.vmx',
  ]);
  const doubts = new Map(report.orphans.map(({ path, doubt }) => [path, doubt ?? '']));
  assert.match(doubts.get(at('web/web.vmdk')) ?? '', /could not be read and may name it/);
  assert.match(doubts.get(at('data.raw')) ?? '', /could not be read/);
});

test('names tell what is a part of a disk', () => {
  const kinds = [
    'a.vmdk',
    'a-flat.vmdk',
    'a-000001-sesparse.vmdk',
    'a-s001.vmdk',
    'a.dsk.REDO',
    'a.log',
    'a.vmx',
    '/m/.run/scratch.qcow2',
    '/m/.prima-staged-a-01/disk0.raw',
  ];
  assert.deepEqual(kinds.map(kindOf), [
    'disk',
    'extent',
    'extent',
    'extent',
    'redo log',
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
