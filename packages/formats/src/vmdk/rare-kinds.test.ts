/** Kinds of disks that are rare: without descriptors, on devices, mapped, in pieces that may not be written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, PrimaError } from '@prima/base';
import { collectExtents, deviceConformance, memoryDevice } from '@prima/block';
import { checkVmdk } from './check-vmdk.ts';
import { deviceFile } from './device-file.ts';
import { readOnlyFile } from './disk-file.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { writeCowdExtent } from './new-extents.ts';
import type { RawDeviceMapping } from './open-extent.ts';
import { openVmdk } from './open-vmdk.ts';
import { seSparseFile } from './se-sparse-fixture.ts';
import { grainBytes, grainSectors, makeStream, noise } from './stream-fixture.ts';

const size = 64 * KiB;
const sectors = size / 512;
const pattern = (seed: number) =>
  Buffer.from(Uint8Array.from({ length: size }, (_, at) => (at * seed + (at >> 9)) % 251));

function described(
  createType: string,
  lines: readonly string[],
  eol = '\n',
  title = '# Disk DescriptorFile',
): Buffer {
  const head = [title, 'version=1', 'CID=00000001', 'parentCID=ffffffff', `createType="${createType}"`];
  return Buffer.from([...head, '# Extent description', ...lines, ''].join(eol), 'latin1');
}

async function folderWith(files: Record<string, Buffer>): Promise<MemoryFolder> {
  const folder = memoryFolder();
  for (const [path, bytes] of Object.entries(files)) await folder.replace(path, bytes);
  return folder;
}

async function contentOf(folder: MemoryFolder, path = '/a.vmdk'): Promise<Buffer> {
  const { device } = await openVmdk(path, { folder });
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  await device.close();
  return bytes;
}

async function codeOf(task: Promise<unknown>): Promise<string> {
  const error = await task.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, String(error));
  return error.code;
}

test('ESX 2: a flat disk and two redo logs, none of them with a descriptor', async () => {
  const folder = await folderWith({ '/a.dsk': pattern(3) });
  for (const [path, fileName] of [
    ['/a.dsk.REDO', 'a.dsk'],
    ['/a.dsk.REDO.REDO', '/vmfs/vmhba0/a.dsk.REDO'],
  ] as const) {
    const file = await folder.create(path, '/', 0);
    await writeCowdExtent(file, { numSectors: sectors, parent: { fileName, generation: 0 } });
    const { device, info } = await openVmdk(path, { folder, writable: true });
    assert.equal(info.descriptor, undefined);
    await device.write(512 * path.length, Buffer.alloc(700, path.length));
    await device.close();
  }
  const wanted = pattern(3);
  for (const length of [11, 16]) wanted.fill(length, 512 * length, 512 * length + 700);
  assert.ok(wanted.equals(await contentOf(folder, '/a.dsk.REDO.REDO')));
  const { info } = await openVmdk('/a.dsk.REDO.REDO', { folder });
  assert.deepEqual(
    info.parents.map(({ path }) => path),
    ['/a.dsk.REDO', '/a.dsk'],
  );
  assert.deepEqual(info.geometry, { cylinders: 1, heads: 64, sectors: 32 });
  assert.ok(pattern(3).equals(await contentOf(folder, '/a.dsk')), 'the base is as it was');
  assert.deepEqual((await checkVmdk('/a.dsk.REDO.REDO', { folder })).findings, []);
});

for (const [createType, mode] of [
  ['vmfsRawDeviceMap', 'virtual'],
  ['vmfsRDM', 'virtual'],
  ['vmfsPassthroughRawDeviceMap', 'physical'],
  ['vmfsRDMP', 'physical'],
] as const) {
  test(`${createType}: refused with its mode, or read and written through the device that is given`, async () => {
    const folder = await folderWith({
      '/a.vmdk': described(createType, [`RW ${sectors} VMFSRDM "a-rdm.vmdk"`]),
    });
    await assert.rejects(openVmdk('/a.vmdk', { folder }), new RegExp(`${mode} mode`));
    const lun = memoryDevice(size + 4096);
    await lun.write(0, pattern(5));
    const asked: RawDeviceMapping[] = [];
    const openMapping = async (mapping: RawDeviceMapping) => {
      asked.push(mapping);
      return lun;
    };
    const { device } = await openVmdk('/a.vmdk', { folder, openMapping, writable: true });
    assert.deepEqual(asked, [
      { mode, file: 'a-rdm.vmdk', descriptor: '/a.vmdk', sizeBytes: size, writable: true },
    ]);
    const bytes = Buffer.alloc(size);
    await device.read(0, bytes);
    assert.ok(bytes.equals(pattern(5)));
    await device.write(1024, Buffer.alloc(512, 9));
    await device.flush();
    await lun.read(1024, bytes.subarray(0, 512));
    assert.equal(bytes[511], 9);
    await device.close();
    const small = async () => memoryDevice(512);
    assert.equal(await codeOf(openVmdk('/a.vmdk', { folder, openMapping: small })), 'usage');
  });
}

test('extents that may not be written, may not be read, and are zeros', async () => {
  const lines = [
    `RW 16 FLAT "a" 0`,
    'RDONLY 16 FLAT "a" 16',
    'NOACCESS 16 FLAT "a" 32',
    'RW 16 ZERO',
    'rdonly 16 Zero',
  ];
  const folder = await folderWith({ '/a.vmdk': described('custom', lines), '/a': pattern(7) });
  const wanted = Buffer.alloc(5 * 16 * 512);
  pattern(7).copy(wanted, 0, 0, 32 * 512);
  assert.ok(wanted.equals(await contentOf(folder)));
  const { device, info } = await openVmdk('/a.vmdk', { folder, writable: true });
  assert.match(info.notes.join(), /may not be accessed/);
  await device.write(0, Buffer.alloc(512, 1));
  for (const at of [16, 32, 48, 64]) {
    assert.equal(await codeOf(device.write(at * 512, Buffer.alloc(512))), 'permission', `sector ${at}`);
  }
  assert.equal(await codeOf(device.write(15 * 512, Buffer.alloc(1024))), 'permission');
  const holes = await collectExtents(device.extents({ offset: 32 * 512, length: 48 * 512 }));
  assert.deepEqual(holes, [{ offset: 32 * 512, length: 48 * 512, kind: 'hole' }]);
  await device.close();
});

test('whole devices and their partitions', async () => {
  const sdb = memoryDevice(size);
  await sdb.write(0, pattern(11));
  const whole = described('fullDevice', [`RW ${sectors} FLAT "/dev/sdb" 0`]);
  const parts = described('partitionedDevice', [
    'RW 16 FLAT "a-pt.vmdk" 0',
    'RW 32 FLAT "/dev/sdb" 16 "52 fe" "id 1"',
    'NOACCESS 80 ZERO',
  ]);
  const files = { '/a.vmdk': whole, '/b.vmdk': parts, '/a-pt.vmdk': Buffer.alloc(16 * 512, 4) };
  const plain = await folderWith(files);
  const folder = {
    ...plain,
    resolve: async (name: string, beside: string) =>
      name === '/dev/sdb' ? name : plain.resolve(name, beside),
    open: async (path: string) =>
      path === '/dev/sdb' ? readOnlyFile(deviceFile(sdb, '/dev/sdb')) : plain.open(path),
  };
  assert.ok(pattern(11).equals(await contentOf(folder)));
  const found = await contentOf(folder, '/b.vmdk');
  const wanted = Buffer.concat([
    Buffer.alloc(16 * 512, 4),
    pattern(11).subarray(16 * 512, 48 * 512),
    Buffer.alloc(80 * 512),
  ]);
  assert.ok(wanted.equals(found));
});

test('descriptors in any case, with CRLF, with the title that some writers give, for another encoding', async () => {
  const line = `RW ${sectors} FLAT "a" 0`;
  const texts = [
    described('MONOLITHICFLAT', [line.toLowerCase()], '\r\n'),
    described('monolithicFlat', [line], '\n', '# Disk Descriptor File'),
    described('monolithicFlat', [line], '\r\n', '#disk descriptorfile'),
    Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), described('monolithicflat', [`  ${line}`])]),
    described('vmfs', ['changeTrackPath="a-ctk.vmdk"', line.replace('FLAT', 'VMFS')])
      .toString()
      .replace('version=1', 'version=3'),
  ].map((text) => Buffer.from(text));
  for (const text of texts) {
    const folder = await folderWith({ '/a.vmdk': text, '/a': pattern(3) });
    assert.ok(pattern(3).equals(await contentOf(folder)), text.toString());
    const { device } = await openVmdk('/a.vmdk', { folder, writable: true });
    await device.write(0, Buffer.alloc(512, 8));
    await device.close();
    assert.equal((await contentOf(folder))[0], 8);
  }
  const encodings: [string, number[], string][] = [
    ['windows-1252', [0xe9, 0x80], 'é€'],
    ['GBK', [0xc4, 0xe3], '你'],
    ['Shift_JIS', [0x93, 0xfa], '日'],
  ];
  for (const [encoding, bytes, name] of encodings) {
    const text = described('vmfs', [
      `encoding="${encoding}"`,
      `RW ${sectors} VMFS "${String.fromCharCode(...bytes)}"`,
    ]);
    const folder = await folderWith({ '/a.vmdk': text, [`/${name}`]: pattern(9) });
    const { device } = await openVmdk('/a.vmdk', { folder, writable: true });
    await device.write(0, Buffer.alloc(512, 8));
    await device.close();
    assert.equal(
      (await contentOf(folder))[0],
      8,
      `${encoding}: found by its name, after the CID was replaced too`,
    );
  }
});

deviceConformance(
  'streamOptimized',
  async () => {
    const grains = [0, 1, 5, 8].map((number) => ({ number, plain: noise(number) }));
    const text = described('streamOptimized', [`RW ${10 * grainSectors} SPARSE "a.vmdk"`]).toString();
    const bytes = makeStream({ form: 'full', capacity: 10 * grainSectors, grains, descriptor: text });
    const { device } = await openVmdk('/a.vmdk', { folder: await folderWith({ '/a.vmdk': bytes }) });
    const expected = new Uint8Array(device.size);
    for (const { number, plain } of grains) expected.set(plain, number * grainBytes);
    return { device, expected };
  },
  { rounds: 10 },
);

deviceConformance(
  'seSparse',
  async () => {
    const capacity = 64 * 8;
    const grains = new Map<number, Uint8Array | 0 | 1 | 2>([
      [0, new Uint8Array(4096).fill(1)],
      [1, 1],
      [2, 2],
      [3, 0],
      [40, new Uint8Array(4096).fill(2)],
    ]);
    const text = described('seSparse', [`RW ${capacity} SESPARSE "b.vmdk"`]);
    const files = { '/a.vmdk': text, '/b.vmdk': seSparseFile(capacity, grains) };
    const { device } = await openVmdk('/a.vmdk', { folder: await folderWith(files) });
    const expected = new Uint8Array(device.size);
    expected.fill(1, 0, 4096);
    expected.fill(2, 40 * 4096, 41 * 4096);
    return { device, expected };
  },
  { rounds: 10 },
);
