import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentLogger } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { parseVmx } from '@prima/formats';
import type { Machine, MachineReading, Platform } from '@prima/platforms';
import { temporaryFolder } from '@prima/testbed';
import { Journal } from '../journal.ts';
import { exportMachine } from './export-machine.ts';

const size = 64 * 1024;
const vmx = [
  'displayName = "web"',
  'scsi0:0.present = "TRUE"',
  'scsi0:0.fileName = "a.qcow2"',
  'scsi0:1.present = "TRUE"',
  'scsi0:1.fileName = "/machines/web/data.raw"',
].join('\n');

async function setUp(t: TestContext) {
  const folder = await temporaryFolder(t);
  const into = join(folder, 'exports');
  const journal = new Journal(join(folder, 'journal'), {
    logger: silentLogger,
    recoverHost: async () => [],
    removePrivateHost: async () => [],
  });
  const disk = (name: string, slot: string) => ({
    name,
    slot,
    path: `/machines/web/${name}`,
    format: 'raw',
    size,
  });
  const reading = (): MachineReading => ({
    mode: 'hot',
    quiesced: true,
    why: [],
    pointInTime: 0,
    disks: [{ disk: disk('disk0', 'scsi0:0'), device: memoryDevice(size) }],
    skipped: [{ disk: disk('disk1', 'scsi0:1'), why: 'it is independent: it has no redo logs' }],
    files: [{ name: 'web.vmx', bytes: Buffer.from(vmx) }],
    checkpoint: { platform: 'qemu', version: 1 },
    succeed: async () => undefined,
    close: async () => undefined,
  });
  const run = (name: string) =>
    exportMachine(
      {
        platform: { openForBackup: async () => reading() } as unknown as Platform,
        machine: { name } as Machine,
      },
      into,
      { journal, logger: silentLogger, kind: 'monolithicSparse', force: true },
    );
  return { into, run };
}

test('an export that is replaced takes no other away', async (t) => {
  const { into, run } = await setUp(t);
  await run('web');
  await mkdir(join(into, 'web.old'));
  await writeFile(join(into, 'web.old', 'precious.vmdk'), 'the export of a machine of this name');
  await writeFile(join(into, 'web', 'mark'), '');
  await run('web');
  assert.deepEqual((await readdir(into)).sort(), ['web', 'web.old']);
  assert.deepEqual(await readdir(join(into, 'web.old')), ['precious.vmdk']);
  assert.deepEqual((await readdir(join(into, 'web'))).sort(), ['disk0.vmdk', 'web.mf', 'web.vmx']);
});

test('a name that is no name of a folder is refused, and nothing is written', async (t) => {
  const { into, run } = await setUp(t);
  for (const name of ['../web', '..', 'a/b', '.', '', '.hidden']) {
    await assert.rejects(run(name), /cannot be the name of a folder/, name);
  }
  await assert.rejects(readdir(into), /ENOENT/);
});

test('a disk that is left out is not looked for at its old place', async (t) => {
  const { into, run } = await setUp(t);
  await run('web');
  const exported = parseVmx(await readFile(join(into, 'web', 'web.vmx')));
  assert.equal(exported.get('scsi0:0.fileName'), 'disk0.vmdk');
  assert.equal(exported.get('scsi0:1.present'), 'FALSE');
  assert.equal(exported.get('scsi0:1.fileName'), undefined);
});
