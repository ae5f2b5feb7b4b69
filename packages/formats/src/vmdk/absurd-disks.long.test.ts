/** Disks that nobody would make: each is refused with an error that names the place, or read as what can be known. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GiB, MiB, PrimaError } from '@prima/base';
import { bytesOf, filledDisk, OpenedHosted, setBytes } from './check-fixture.ts';
import { checkVmdk } from './check-vmdk.ts';
import { newDescriptor, writeDescriptor } from './descriptor-write.ts';
import type { ExtentDescription } from './descriptor.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';
import { seSparseFile } from './se-sparse-fixture.ts';
import { grainSectors, makeStream, noise } from './stream-fixture.ts';

const file = '/disk.vmdk';
const hosted = { createType: 'monolithicSparse', grainSectors: 16 } as const;

interface Failure {
  code: string;
  offset?: unknown;
}

async function failureOf(task: () => Promise<unknown>): Promise<Failure> {
  try {
    await task();
  } catch (error) {
    assert.ok(error instanceof PrimaError, String(error));
    return { code: error.code, offset: error.details.offset };
  }
  return { code: 'none' };
}

const readAll = (folder: MemoryFolder) => async () => {
  const { device } = await openVmdk(file, { folder });
  try {
    const bytes = new Uint8Array(MiB);
    for (const at of [0, Math.floor(device.size / 2)]) {
      await device.read(at, bytes.subarray(0, Math.min(MiB, device.size - at)));
    }
  } finally {
    await device.close();
  }
};

test('numbers of a hosted header that are beyond everything', async () => {
  const { folder } = await filledDisk(hosted);
  const whole = await bytesOf(folder, file);
  for (const offset of [12, 20, 28, 36, 48, 56, 64]) {
    for (const value of [1n << 63n, (1n << 64n) - 2n, 1n << 53n]) {
      const bytes = Buffer.from(whole);
      bytes.writeBigUInt64LE(value, offset);
      await setBytes(folder, file, bytes);
      assert.deepEqual(await failureOf(readAll(folder)), { code: 'format', offset }, `${value} at ${offset}`);
    }
  }
  const tables = Buffer.from(whole);
  tables.writeBigUInt64LE(1n << 42n, 12); // 2^30 tables: a directory of 4 GiB
  await setBytes(folder, file, tables);
  assert.equal((await failureOf(readAll(folder))).code, 'format');
});

test('numbers of COWD and seSparse headers that are beyond everything', async () => {
  const { folder } = await filledDisk({ createType: 'vmfsSparse' });
  const whole = await bytesOf(folder, '/disk-delta.vmdk');
  for (const offset of [12, 16, 20, 24]) {
    const bytes = Buffer.from(whole);
    bytes.writeUInt32LE(offset === 24 ? 0 : 0xffff_ffff, offset);
    await setBytes(folder, '/disk-delta.vmdk', bytes);
    assert.equal((await failureOf(readAll(folder))).code, 'format', `at ${offset}`);
  }
  const se = memoryFolder();
  const sectors = 8 * 4096;
  const image = seSparseFile(sectors, new Map([[0, new Uint8Array(4096)]]));
  await setBytes(se, file, describe('seSparse', [{ sectors, type: 'SESPARSE', file: 'a.vmdk' }]));
  for (const offset of [16, 24, 32, 40, 80, 128, 136, 144, 152, 192, 200]) {
    for (const value of [1n << 63n, 1n << 42n]) {
      const bytes = Buffer.from(image);
      bytes.writeBigUInt64LE(value, offset);
      await setBytes(se, '/a.vmdk', bytes);
      const { code } = await failureOf(readAll(se));
      const grows = [16, 136, 152, 200].includes(offset) && value < 1n << 63n;
      if (!grows) assert.equal(code, 'format', `${value} at ${offset}`);
      await checkVmdk(file, { folder: se });
    }
  }
});

function describe(
  createType: 'seSparse' | 'custom' | 'twoGbMaxExtentSparse',
  extents: (Pick<ExtentDescription, 'sectors' | 'type' | 'file'> & { offset?: number })[],
): Buffer {
  const full = extents.map((extent) => ({ access: 'RW', offset: 0, ...extent }) as const);
  return writeDescriptor(newDescriptor({ cid: 5, createType, extents: full, ddb: {} }));
}

test('tables beyond the end, and a descriptor that wants more than the header has', async () => {
  const { folder } = await filledDisk(hosted);
  const disk = new OpenedHosted(await bytesOf(folder, file));
  for (const which of [0, 1] as const) disk.setTable(which, 1, 0xffff_fff0);
  await setBytes(folder, file, disk.bytes);
  assert.deepEqual(await failureOf(readAll(folder)), { code: 'format', offset: disk.directory(0) + 4 });
  const sectors = disk.header.capacity + 1;
  await setBytes(folder, '/other.vmdk', disk.bytes);
  await setBytes(folder, file, describe('custom', [{ sectors, type: 'SPARSE', file: 'other.vmdk' }]));
  assert.deepEqual(await failureOf(readAll(folder)), { code: 'format', offset: 12 });
});

test('a footer that is missing, one that says to look at itself, and something behind it', async () => {
  const grains = [0, 5].map((number) => ({ number, plain: noise(number) }));
  const descriptor = describe('custom', [{ sectors: 10 * grainSectors, type: 'SPARSE', file: 'disk.vmdk' }]);
  const whole = makeStream({
    form: 'full',
    capacity: 10 * grainSectors,
    grains,
    descriptor: descriptor.toString(),
  });
  const folder = memoryFolder();
  await setBytes(folder, file, Buffer.concat([whole, Buffer.alloc(60 * 512)]));
  assert.equal((await failureOf(readAll(folder))).code, 'none');
  const { info } = await openVmdk(file, { folder });
  assert.match(info.notes.join(), /behind the end of the stream/);
  const cases = [
    whole.subarray(0, whole.length - 1024),
    Buffer.concat([whole, Buffer.alloc(200 * 512)]),
    Buffer.concat([whole.subarray(0, -1024), whole.subarray(0, 512), whole.subarray(-512)]),
  ];
  for (const bytes of cases) {
    await setBytes(folder, file, bytes);
    assert.equal((await failureOf(readAll(folder))).code, 'format');
  }
});

test('8,192 extents of one file are one open file', async () => {
  const folder = memoryFolder();
  let open = 0;
  let most = 0;
  const counted = {
    ...folder,
    open: async (path: string) => {
      const found = await folder.open(path);
      open += 1;
      most = Math.max(most, open);
      return Object.assign(found, {
        close: async () => {
          open -= 1;
        },
      });
    },
  };
  await setBytes(folder, '/a', Buffer.alloc(512, 7));
  const extents = Array.from({ length: 8192 }, () => ({ sectors: 1, type: 'FLAT', file: 'a' }) as const);
  await setBytes(folder, file, describe('custom', extents));
  const { device } = await openVmdk(file, { folder: counted });
  const bytes = new Uint8Array(1024);
  await device.read(8190 * 512, bytes);
  assert.deepEqual([bytes[0], bytes[1023], device.size], [7, 7, 4 * MiB]);
  await device.close();
  assert.deepEqual([most, open], [1, 0]);
});

test('a file with tables that is two extents is read, and not written', async () => {
  const { folder } = await filledDisk(hosted);
  const disk = new OpenedHosted(await bytesOf(folder, file));
  await setBytes(folder, '/a.vmdk', disk.bytes);
  const extent = { sectors: disk.header.capacity, type: 'SPARSE', file: 'a.vmdk' } as const;
  await setBytes(folder, file, describe('twoGbMaxExtentSparse', [extent, extent]));
  assert.equal((await failureOf(readAll(folder))).code, 'none');
  assert.equal((await failureOf(() => openVmdk(file, { folder, writable: true }))).code, 'format');
});

test('huge files that begin as a descriptor, or hold nothing', async () => {
  const folder = memoryFolder();
  const made = await folder.create(file, '/', 0);
  await made.write(0, Buffer.from('# Disk DescriptorFile\ncreateType="vmfs"\n'));
  await made.resize(1024 * GiB);
  assert.equal((await failureOf(readAll(folder))).code, 'format');
  await made.write(0, Buffer.alloc(100));
  const { device } = await openVmdk(file, { folder });
  assert.equal(device.size, 1024 * GiB);
  assert.equal((await checkVmdk(file, { folder })).findings.length, 0);
});

test('a hosted file of 16 TiB of holes is checked in a moment', async () => {
  const { folder } = await filledDisk(hosted);
  const made = folder.files.get(file);
  await made?.resize(16 * 1024 * GiB);
  const { findings } = await checkVmdk(file, { folder });
  assert.deepEqual(
    findings.map(({ code }) => code),
    ['tail-unused'],
  );
});
