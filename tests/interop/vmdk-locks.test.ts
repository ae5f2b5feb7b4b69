/** Files of disks that one program writes are not written by another: Prima and QEMU's tools keep each other's locks. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { MiB, PrimaError, runProgram } from '@prima/base';
import { openRawFile } from '@prima/block';
import { checkVmdk, createVmdk, openVmdk } from '@prima/formats';

const size = 4 * MiB;
let folder = '';
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'prima-locks-')));
});
afterEach(() => rm(folder, { recursive: true }));

/** `qemu-io` with the disk open, until it is told to go. */
async function openInQemu(path: string, ...options: string[]): Promise<AsyncDisposable> {
  const child = spawn('qemu-io', [...options, path], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.write('length\n');
  await once(child.stdout, 'data');
  return {
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.stdin.end('quit\n');
      await ended;
    },
  };
}

async function assertBusy(task: () => Promise<unknown>): Promise<void> {
  await assert.rejects(task, (error) => {
    assert.ok(error instanceof PrimaError && error.code === 'busy', String(error));
    assert.match(error.message, /in use by qemu-io \(process \d+\)/);
    return true;
  });
}

const qemuIo = (path: string, ...options: string[]) =>
  runProgram('qemu-io', [...options, '-c', 'write -P 1 0 512', path]);

for (const createType of ['monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse', 'vmfs'] as const) {
  test(`${createType}: a disk that QEMU writes is not written by us, and the other way round`, async () => {
    const path = at('a.vmdk');
    await createVmdk(path, { createType, size });
    {
      await using _qemu = await openInQemu(path, '-f', 'vmdk');
      await assertBusy(() => openVmdk(path, { writable: true }));
      if (createType !== 'monolithicFlat' && createType !== 'vmfs')
        await assertBusy(() => checkVmdk(path, { repair: true }));
      const { device } = await openVmdk(path); // who reads is let in
      await device.read(0, new Uint8Array(512));
      await device.close();
    }
    const { device } = await openVmdk(path, { writable: true });
    await device.write(0, new Uint8Array(512).fill(7));
    await assert.rejects(qemuIo(path, '-f', 'vmdk'), /lock/);
    await device.close();
    await qemuIo(path, '-f', 'vmdk');
    const again = await openVmdk(path);
    const found = new Uint8Array(512);
    await again.device.read(0, found);
    await again.device.close();
    assert.equal(found[0], 1);
  });
}

test('a redo log is locked, and its parent may be read by both', async () => {
  await createVmdk(at('base.vmdk'), { createType: 'vmfs', size });
  await createVmdk(at('a.vmdk'), { createType: 'vmfsSparse', parent: at('base.vmdk') });
  await createVmdk(at('b.vmdk'), { createType: 'vmfsSparse', parent: at('base.vmdk') });
  await using _qemu = await openInQemu(at('a.vmdk'), '-f', 'vmdk');
  await assertBusy(() => openVmdk(at('a.vmdk'), { writable: true }));
  const { device } = await openVmdk(at('b.vmdk'), { writable: true });
  await device.write(0, new Uint8Array(512));
  await device.close();
  await assertBusy(() => openVmdk(at('base.vmdk'), { writable: true }));
});

test('raw disks: one writer; who reads in QEMU and wants it unchanged keeps us out', async () => {
  const path = at('a.raw');
  const made = await openRawFile(path, { create: { size } });
  await assert.rejects(qemuIo(path, '-f', 'raw'), /lock/);
  await assert.rejects(openRawFile(path, { writable: true }), /in use by .*\(process \d+\)/);
  await made.close();
  {
    await using _qemu = await openInQemu(path, '-f', 'raw');
    await assertBusy(() => openRawFile(path, { writable: true }));
  }
  await createVmdk(at('b.vmdk'), { createType: 'monolithicSparse', size });
  {
    await using _qemu = await openInQemu(at('b.vmdk'), '-r', '-f', 'vmdk');
    await assertBusy(() => openVmdk(at('b.vmdk'), { writable: true }));
  }
  const { device } = await openVmdk(at('b.vmdk'), { writable: true });
  await device.close();
});
