/** The three places where files of a disk may be. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { PrimaError } from '@prima/base';
import { collectExtents, memoryDevice } from '@prima/block';
import { deviceFile } from './device-file.ts';
import type { DiskFolder } from './disk-file.ts';
import { localFolder } from './local-folder.ts';
import { memoryFolder } from './memory-folder.ts';

let folder = '';

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'prima-vmdk-')));
});
afterEach(() => rm(folder, { recursive: true }));

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, String(error));
  return error.code;
}

async function exercise(disks: DiskFolder, top: string): Promise<void> {
  const file = await disks.create('a.vmdk', top, 100);
  assert.equal(file.size, 100);
  await file.write(5000, Buffer.from('hello'));
  assert.equal(file.size, 5005);
  const bytes = Buffer.alloc(10);
  await file.read(4995, bytes);
  assert.equal(bytes.toString('latin1'), '\0\0\0\0\0hello');
  await file.resize(4999);
  await file.resize(5005);
  await file.read(4995, bytes);
  assert.ok(bytes.equals(Buffer.alloc(10)), 'what was cut off and grown again is zeros');
  await file.write(0, Buffer.alloc(4096, 1));
  await file.zero({ offset: 0, length: 4096 });
  await file.read(0, bytes);
  assert.ok(bytes.equals(Buffer.alloc(10)));
  await file.flush();
  const extents = await collectExtents(file.extents({ offset: 0, length: 5005 }));
  assert.equal(
    extents.reduce((sum, extent) => sum + extent.length, 0),
    5005,
  );
  await file.close();
  const path = await disks.resolve('a.vmdk', top);
  assert.equal(path, file.path);
  assert.equal(await codeOf(disks.create('a.vmdk', top, 0)), 'exists');
  await disks.replace(path, Buffer.from('new'));
  const again = await disks.open(path);
  assert.equal(again.size, 3);
  await again.close();
  assert.equal(await codeOf(disks.resolve('b.vmdk', top)), 'not-found');
  assert.equal(await codeOf(disks.resolve('', top)), 'refused');
  await disks.remove(path);
  assert.equal(await codeOf(disks.open(path)), 'not-found');
}

test('files in a folder', async () => {
  await exercise(localFolder([folder]), join(folder, 'top.vmdk'));
});

test('files in memory', async () => {
  await exercise(memoryFolder(), '/disks/top.vmdk');
});

test('a device as a file', async () => {
  const device = memoryDevice(4096);
  await device.write(0, Buffer.from('abc'));
  const file = deviceFile(device, 'a', 3);
  const bytes = Buffer.alloc(3);
  await file.read(0, bytes);
  assert.equal(bytes.toString(), 'abc');
  assert.equal(file.size, 3);
});

test('a name that leads out of the allowed folders is refused, through links too', async () => {
  const inside = join(folder, 'inside');
  const top = join(inside, 'top.vmdk');
  await mkdir(inside);
  await writeFile(join(folder, 'secret'), 'x');
  await writeFile(join(inside, 'real'), 'y');
  await symlink(join(folder, 'secret'), join(inside, 'link'));
  await symlink(inside, join(folder, 'way-in'));
  await symlink(folder, join(inside, 'way-out'));
  const disks = localFolder([inside]);
  for (const name of [
    '../secret',
    join(folder, 'secret'),
    'link',
    '../nothing',
    '/etc/passwd',
    '/none',
    'a\0b',
  ]) {
    assert.equal(await codeOf(disks.resolve(name, top)), 'refused', name);
  }
  for (const name of ['../new', 'way-out/new', join(folder, 'new')]) {
    assert.equal(await codeOf(disks.create(name, top, 0)), 'refused', name);
  }
  assert.equal(await disks.resolve(join(folder, 'way-in', 'real'), top), join(inside, 'real'));
  assert.equal(await readFile(await localFolder(['/']).resolve('../secret', top), 'latin1'), 'x');
  assert.equal(await codeOf(disks.open(inside)), 'unsupported');
});
