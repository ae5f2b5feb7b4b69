/** `prima disk` and `prima backup` on VMDKs, which our own code reads: kinds that QEMU refuses, too. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { MiB, type Random, runProgram, seededRandom } from '@prima/base';
import { copyDevice, memoryDevice, openRawFile, type WritableDevice } from '@prima/block';
import { createVmdk, openVmdk, writeVmdkStreamFile } from '@prima/formats';
import { isListening, spawnPrima, waitUntil } from '@prima/testbed';
import { DiskFolder } from './disk-fixture.ts';

const size = 9 * MiB;

async function content(random: Random): Promise<WritableDevice> {
  const disk = memoryDevice(size);
  for (let part = 0; part < 6; part += 1) {
    const bytes = random.bytes(new Uint8Array(512 * (1 + random.below(300))));
    await disk.write(512 * random.below(size / 512 - 300), bytes);
  }
  return disk;
}

async function writeInto(path: string, source: WritableDevice): Promise<void> {
  const { device } = await openVmdk(path, { writable: true });
  await copyDevice(source, device);
  await device.close();
}

async function writeRaw(path: string, source: WritableDevice): Promise<void> {
  const raw = await openRawFile(path, { create: { size: source.size } });
  await copyDevice(source, raw);
  await raw.close();
}

test('a chain in two folders: its kinds, its parents, its data; and its parent only where that is allowed', async () => {
  await using at = await DiskFolder.make();
  await mkdir(at.at('base'));
  await mkdir(at.at('child'));
  const disk = await content(seededRandom(1));
  const parent = at.at('base/base.vmdk');
  await createVmdk(parent, { createType: 'vmfs', size, adapterType: 'buslogic' });
  await writeInto(parent, disk);
  // what QEMU does not know and ESX writes
  await writeFile(
    parent,
    (await readFile(parent, 'utf8')).replace('createType="vmfs"', 'createType="vmfsThin"'),
  );
  const child = at.at('child/child.vmdk');
  await createVmdk(child, { createType: 'vmfsSparse', parent });
  await disk.write(MiB, Buffer.alloc(4096, 7));
  const { device } = await openVmdk(child, { writable: true, roots: [at.path] });
  await device.write(MiB, Buffer.alloc(4096, 7));
  await device.close();
  await writeRaw(at.at('wanted.raw'), disk);

  const refused = await at.prima('info', child);
  assert.equal(refused.status, 13);
  assert.match(refused.said, /outside of/);
  const { result, status, said } = await at.prima('info', child, '--allow-folder', at.at('base'));
  assert.equal(status, 0, said);
  assert.equal(result.vmdk.createType, 'vmfsSparse');
  assert.equal(result.vmdk.adapterType, 'buslogic');
  assert.deepEqual(
    result.vmdk.parents.map(({ path }) => path),
    [parent],
  );
  assert.match(result.vmdk.ddb['uuid'] ?? '', /^60 00 C2/);
  const same = await at.prima('compare', child, at.at('wanted.raw'), '--allow-folder', at.path);
  assert.deepEqual([same.status, same.result.differences], [0, []], same.said);
});

test('redo logs without descriptor, by their name', async () => {
  await using at = await DiskFolder.make();
  const disk = await content(seededRandom(2));
  await createVmdk(at.at('web.vmdk'), { createType: 'vmfs', size });
  await writeInto(at.at('web.vmdk'), disk);
  await createVmdk(at.at('log.vmdk'), { createType: 'vmfsSparse', parent: at.at('web.vmdk') });
  await rename(at.at('log-delta.vmdk'), at.at('web.vmdk.REDO')); // its header names the parent
  const { result, status, said } = await at.prima('info', at.at('web.vmdk.REDO'));
  assert.equal(status, 0, said);
  assert.equal(result.format, 'vmdk');
  assert.deepEqual(
    result.vmdk.parents.map(({ path }) => path),
    [at.at('web.vmdk')],
  );
});

test('streamOptimized and split disks are backed up and come back, all files watched', async () => {
  await using at = await DiskFolder.make();
  const disk = await content(seededRandom(3));
  await writeRaw(at.at('wanted.raw'), disk);
  await writeVmdkStreamFile(disk, at.at('stream.vmdk'));
  await createVmdk(at.at('split.vmdk'), { createType: 'twoGbMaxExtentSparse', size });
  await writeInto(at.at('split.vmdk'), disk);
  const env = {
    PRIMA_HOME: at.at('.home'),
    PRIMA_REPO: at.at('repository'),
    PRIMA_PASSPHRASE: 'of these tests',
  };
  const run = async (...args: string[]) => {
    const { status, stdout, stderr } = await spawnPrima(args, { env }).result;
    assert.equal(status, 0, `${args.join(' ')}: ${stdout}${stderr}`);
  };
  await run('init');
  await run('backup', at.at('stream.vmdk'), at.at('split.vmdk'));
  for (const name of ['stream', 'split']) {
    await run('restore', `${name}@latest`, '--to', at.at(`${name}-back`));
    await runProgram('qemu-img', ['compare', at.at(`${name}-back/${name}-disk0.raw`), at.at('wanted.raw')]);
  }
});

test('a disk that a QEMU writes is not read, whichever of its files it has open', async () => {
  await using at = await DiskFolder.make();
  await createVmdk(at.at('a.vmdk'), { createType: 'monolithicFlat', size });
  const flat = at.at('a-flat.vmdk');
  const storage = spawn('qemu-storage-daemon', [
    '--blockdev',
    `driver=file,filename=${flat},node-name=f`,
    '--nbd-server',
    `addr.type=unix,addr.path=${at.at('s')}`,
    '--export',
    'type=nbd,id=e,node-name=f,writable=on',
  ]);
  try {
    await waitUntil(() => isListening(at.at('s')), { what: 'the socket' });
    const { status, said } = await at.prima('info', at.at('a.vmdk'));
    assert.equal(status, 5, said);
    assert.match(said, /open for writing in a running QEMU/);
  } finally {
    storage.kill();
  }
});
