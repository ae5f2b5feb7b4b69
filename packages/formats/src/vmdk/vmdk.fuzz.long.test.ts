/** Damaged and invented disks of every kind: opened, read, written, checked and repaired, or refused with an error. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Random } from '@prima/base';
import { isWritable } from '@prima/block';
import { answerOf, fuzzRun, mutate } from '@prima/testbed';
import { checkVmdk } from './check-vmdk.ts';
import { writeCowdHeader } from './cowd-header.ts';
import { createVmdk } from './create-vmdk.ts';
import { parseDescriptor } from './descriptor.ts';
import { newDescriptor, withoutChangeTracking, writeDescriptor } from './descriptor-write.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';
import { seSparseFile } from './se-sparse-fixture.ts';
import { fixtureForms, grainSectors, makeStream, noise } from './stream-fixture.ts';

const top = '/disk.vmdk';
const size = 300 * 512;
type Files = ReadonlyMap<string, Buffer>;

async function made(make: (folder: MemoryFolder) => Promise<unknown>): Promise<Files> {
  const folder = memoryFolder();
  await make(folder);
  const files = new Map<string, Buffer>();
  for (const [path, file] of folder.files) {
    const bytes = Buffer.alloc(file.size);
    await file.read(0, bytes);
    files.set(path, bytes);
  }
  return files;
}

async function filled(folder: MemoryFolder): Promise<void> {
  const { device } = await openVmdk(top, { folder, writable: true });
  for (const offset of [0, 50_000, size - 512])
    await device.write(offset, new Uint8Array(512).fill(offset + 1));
  await device.close();
}

/** Disks of all kinds, as their files. */
async function healthyDisks(): Promise<Files[]> {
  const plain = (['monolithicSparse', 'monolithicFlat', 'twoGbMaxExtentSparse', 'vmfs'] as const).map(
    (createType) =>
      made(async (folder) => {
        await createVmdk(top, {
          createType,
          size,
          folder,
          ...(/Sparse/.test(createType) ? { grainSectors: 16 } : {}),
        });
        await filled(folder);
      }),
  );
  const child = made(async (folder) => {
    await createVmdk('/base.vmdk', { createType: 'monolithicSparse', size, folder, zeroedGrains: true });
    await createVmdk(top, { createType: 'vmfsSparse', parent: '/base.vmdk', folder });
    await filled(folder);
  });
  const all = await Promise.all([...plain, child]);
  const delta = all.at(-1)?.get('/disk-delta.vmdk') ?? Buffer.alloc(0);
  const head = { ...cowdFields, parent: { fileName: 'base.dsk', generation: 0 } };
  all.push(
    new Map([
      [top, Buffer.concat([writeCowdHeader(head), delta.subarray(2048)])],
      ['/base.dsk', Buffer.alloc(size, 3)],
    ]),
  );
  const grains = [0, 1, 5, 8].map((number) => ({ number, plain: noise(number) }));
  for (const form of fixtureForms) {
    const descriptor = descriptorOf('streamOptimized', 10 * grainSectors, 'SPARSE', 'disk.vmdk');
    all.push(new Map([[top, makeStream({ form, capacity: 10 * grainSectors, grains, descriptor })]]));
  }
  const seGrains = new Map([
    [0, new Uint8Array(4096).fill(1)],
    [9, new Uint8Array(4096).fill(2)],
  ]);
  const text = descriptorOf('seSparse', 8 * 4096, 'SESPARSE', 'a.vmdk');
  all.push(
    new Map([
      [top, Buffer.from(text)],
      ['/a.vmdk', seSparseFile(8 * 4096, seGrains)],
    ]),
  );
  return all;
}

const cowdFields = {
  flags: 3,
  numSectors: 300,
  grainSize: 1,
  gdOffset: 4,
  numGDEntries: 1,
  freeSector: 5,
  generation: 1,
  name: 'n',
  description: '',
  savedGeneration: 1,
  uncleanShutdown: false,
};

function descriptorOf(
  createType: 'streamOptimized' | 'seSparse',
  sectors: number,
  type: 'SPARSE' | 'SESPARSE',
  file: string,
) {
  const extents = [{ access: 'RW', sectors, type, file, offset: 0 }] as const;
  return writeDescriptor(
    newDescriptor({ cid: 5, createType, extents, ddb: { adapterType: 'ide' } }),
  ).toString();
}

const strange = [
  1n << 63n,
  (1n << 64n) - 1n,
  1n << 53n,
  1n << 43n,
  1n << 32n,
  1n << 31n,
  0xffffn,
  8n,
  1n,
  0n,
];

/** Half of the changes are to numbers where headers, directories and tables are. */
function damaged(random: Random, bytes: Buffer, others: readonly Buffer[]): Buffer {
  if (random.below(2) === 0) return mutate(random, bytes, others);
  const result = Buffer.from(bytes);
  for (let left = 1 + random.below(3); left > 0 && result.length > 16; left -= 1) {
    const reach = random.below(3) === 0 ? 100 : random.below(2) === 0 ? 12_000 : result.length;
    const at = 4 * random.below(Math.min(reach, result.length - 8) / 4);
    const value = strange[random.below(strange.length)] ?? 0n;
    if (random.below(2) === 0) result.writeBigUInt64LE(value, at);
    else result.writeUInt32LE(Number(value & 0xffff_ffffn), at);
  }
  return result;
}

async function exercise(files: Files, random: Random, where: string): Promise<void> {
  const folder = memoryFolder();
  for (const [path, bytes] of files) await folder.replace(path, bytes);
  await answerOf(() => checkVmdk(top, { folder, repair: random.below(2) === 0 }), where);
  const writable = random.below(2) === 0;
  await answerOf(async () => {
    const { device } = await openVmdk(top, { folder, writable, onParentMismatch: 'note' });
    try {
      assert.ok(Number.isSafeInteger(device.size) && device.size % 512 === 0, where);
      for (let reads = 0; reads < 4; reads += 1) {
        const into = new Uint8Array(Math.min(device.size, 1 + random.below(40_000)));
        const spots = [0, device.size - into.length, random.below(device.size - into.length + 1)];
        const offset = spots[random.below(3)] ?? 0;
        await answerOf(() => device.read(offset, into), where);
        if (isWritable(device)) await answerOf(() => device.write(offset, into), where);
      }
      await answerOf(() => walk(device, where), where);
      if (isWritable(device)) await answerOf(() => device.flush(), where);
    } finally {
      await answerOf(() => device.close(), where);
    }
  }, where);
}

async function walk(device: Awaited<ReturnType<typeof openVmdk>>['device'], where: string): Promise<void> {
  let end = 0;
  let left = 500;
  for await (const { offset, length } of device.extents({ offset: 0, length: device.size })) {
    assert.ok(offset === end && length > 0, where);
    end = offset + length;
    left -= 1;
    if (left === 0) return;
  }
  assert.equal(end, device.size, where);
}

test('disks of every kind', async () => {
  const { seed, rounds, random } = fuzzRun(100);
  const healthy = await healthyDisks();
  const all = healthy.flatMap((files) => [...files.values()]);
  for (const [index, files] of healthy.entries()) await exercise(files, random, `the healthy disk ${index}`);
  for (let round = 0; round < rounds; round += 1) {
    const where = `PRIMA_SEED=${seed}, round ${round}`;
    const files = new Map(healthy[random.below(healthy.length)]);
    for (const [path, bytes] of files)
      if (random.below(files.size) === 0) files.set(path, damaged(random, bytes, all));
    await exercise(files, random, where);
  }
});

test('descriptors', async () => {
  const { seed, rounds, random } = fuzzRun(2000);
  const texts = [
    '# Disk DescriptorFile\r\nversion=3\r\nencoding="GBK"\r\nCID=1a2b3c4d\r\nparentCID=ffffffff\r\ncreateType="vmfs"\r\n\r\n' +
      '# Extent description\r\nRW 409600 VMFS "\xc4\xe3-flat.vmdk"\r\nchangeTrackPath="a-ctk.vmdk"\r\nddb.adapterType = "ide"\r\n',
    '# Disk Descriptor File\nversion=1\nCID=7b\nparentCID=1\nparentFileNameHint="/a/b.vmdk"\ncreateType="partitionedDevice"\n' +
      'RW 63 FLAT "a-pt.vmdk" 0\nRDONLY 8192 FLAT "/dev/sdb" 2048 "52 fe" "id 1"\nNOACCESS 64 ZERO\n',
  ].map((text) => Buffer.from(text, 'latin1'));
  for (let round = 0; round < rounds; round += 1) {
    const where = `PRIMA_SEED=${seed}, round ${round}`;
    const bytes = mutate(random, texts[random.below(2)] ?? Buffer.alloc(0), texts);
    const descriptor = await answerOf(() => parseDescriptor(bytes), where);
    if (!descriptor) continue;
    const again = parseDescriptor(writeDescriptor(descriptor));
    assert.deepEqual(again.extents, descriptor.extents, where);
    assert.equal(again.cid, descriptor.cid, where);
    assert.equal(
      parseDescriptor(writeDescriptor(withoutChangeTracking(descriptor))).changeTrackPath,
      undefined,
      where,
    );
  }
});
