/** Redo logs of a machine when things around them are not as they should be. */
import assert from 'node:assert/strict';
import { readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram } from '@prima/base';
import { RedoStack } from '@prima/formats';
import { qcow2Logs } from '@prima/qemu';
import { failureOf, testHost } from './qemu-host-fixture.ts';

const size = 8 * MiB;

test('redo logs and what goes wrong around them', async (t) => {
  const host = await testHost(t);
  const { platform, scratch } = host;
  const redo = platform.redo ?? assert.fail('the host has redo logs');
  const made = await platform.create({
    name: 'web01',
    memoryBytes: 64 * MiB,
    cpus: 1,
    disks: [
      { size, format: 'qcow2' },
      { size, format: 'raw' },
    ],
  });
  const folder = made.folder ?? '';
  const look = () => platform.find('web01');
  const logFiles = async () => (await readdir(folder)).filter((name) => /REDO|redo/.test(name)).sort();
  const guestWrites = (log: string) => runProgram('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 64k', log]);

  await t.test('all disks or none, of a machine that is off', async () => {
    const foreign = join(folder, 'disk1.raw.REDO');
    await writeFile(foreign, 'of another tool');
    const { code, message } = await failureOf(redo.add(made));
    assert.equal(code, 'refused', message);
    assert.deepEqual(await logFiles(), ['disk1.raw.REDO']);
    await rm(foreign);
  });

  await t.test('a disk that is a symbolic link has its logs beside the file', async () => {
    const real = join(scratch, 'elsewhere.raw');
    await rename(join(folder, 'disk1.raw'), real);
    await symlink(real, join(folder, 'disk1.raw'));
    const kind = qcow2Logs({ disk: real, format: 'raw', size });
    const stack = await RedoStack.open(real, { kind });
    await guestWrites(join(scratch, (await stack.add()).files[0]));
    await platform.power(await look(), 'start');
    assert.deepEqual(
      (await look()).disks[1]?.logs?.map(({ path }) => path),
      [`${real}.REDO`],
    );
    await redo.commit(await look(), { disks: ['disk1'] });
    await platform.power(await look(), 'kill');
    assert.equal((await readFile(real)).readUInt32BE(0), 0x07070707);
    await redo.add(await look(), { disks: ['disk1'] });
    assert.deepEqual(await logFiles(), []);
    await redo.discard(await look());
  });

  await t.test('a log of a disk that the running machine does not have stays', async () => {
    await platform.power(await look(), 'start');
    const late = join(folder, 'late.qcow2');
    await runProgram('qemu-img', ['create', '-q', '-f', 'qcow2', late, String(size)]);
    const stack = await RedoStack.open(late, { kind: qcow2Logs({ disk: late, format: 'qcow2', size }) });
    await guestWrites(join(folder, (await stack.add()).files[0]));
    const vmx = join(folder, 'web01.vmx');
    const text = await readFile(vmx, 'utf8');
    await writeFile(vmx, `${text}scsi0:5.present = "TRUE"\nscsi0:5.fileName = "late.qcow2"\n`);
    const names = ['late.qcow2.REDO', 'late.qcow2.redo.json'];
    for (const what of ['commit', 'add'] as const) {
      const { code, message } = await failureOf(redo[what](await look()));
      assert.equal(code, 'state', message);
      assert.match(message, /it has no such disk/);
      assert.deepEqual(await logFiles(), names);
    }
    await stack.beginCommit(0); // what a merge by other means left half done
    await redo.add(await look(), { disks: ['disk0'] });
    await redo.commit(await look(), { disks: ['disk0'] });
    assert.deepEqual(await logFiles(), names);
    await writeFile(vmx, text);
  });

  await t.test('the logs of a backup go, though its process lives on', async () => {
    const reading = await platform.openForBackup(await look(), {
      mode: 'hot',
      owner: 'one',
      method: 'redo',
    });
    await platform.power(await look(), 'kill');
    await failureOf(reading.close());
    const disks = (await look()).disks.map(({ logs = [] }) => logs.length);
    assert.deepEqual(disks, [0, 0]);
  });
});
