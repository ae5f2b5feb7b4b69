/** Every kind that can be made: the conformance suite, and random operations against a model, over what it is made of. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GiB, MiB, PrimaError, type Random, seededRandom } from '@prima/base';
import { collectExtents, type DeviceUnderTest, deviceConformance } from '@prima/block';
import { type CreateVmdkOptions, createVmdk } from './create-vmdk.ts';
import { formatCid } from './descriptor-write.ts';
import { parentNames } from './find-parent.ts';
import { type MemoryFolder, memoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';

const size = 3 * MiB + 512 * 5;

type Case = Omit<CreateVmdkOptions, 'folder' | 'size' | 'parent'> & { parent?: boolean };

const cases: Record<string, Case> = {
  monolithicSparse: { createType: 'monolithicSparse' },
  'monolithicSparse with small grains': { createType: 'monolithicSparse', grainSectors: 16 },
  'monolithicSparse with zeroed grains over a parent': {
    createType: 'monolithicSparse',
    grainSectors: 16,
    zeroedGrains: true,
    parent: true,
  },
  'monolithicSparse over a parent': { createType: 'monolithicSparse', parent: true },
  monolithicFlat: { createType: 'monolithicFlat' },
  twoGbMaxExtentSparse: { createType: 'twoGbMaxExtentSparse' },
  twoGbMaxExtentFlat: { createType: 'twoGbMaxExtentFlat' },
  'vmfs thin': { createType: 'vmfs' },
  'vmfsSparse with a grain of a sector': { createType: 'vmfsSparse', parent: true },
  'vmfsSparse with a grain of 7 sectors': { createType: 'vmfsSparse', grainSectors: 7, parent: true },
};

interface MadeDisk {
  folder: MemoryFolder;
  expected: Uint8Array;
}

async function make(options: Case): Promise<DeviceUnderTest> {
  const { folder, expected } = await makeDisk(options);
  const { device } = await openVmdk('/disk.vmdk', { folder, writable: true });
  return { device, expected };
}

/** `/disk.vmdk`, over `/base.vmdk` where it has a parent. */
async function makeDisk(options: Case): Promise<MadeDisk> {
  const folder = memoryFolder();
  const expected = new Uint8Array(size);
  const { parent, ...rest } = options;
  if (parent) {
    await createVmdk('/base.vmdk', { createType: 'monolithicSparse', grainSectors: 16, size, folder });
    const base = await openVmdk('/base.vmdk', { folder, writable: true });
    const random = seededRandom(5);
    for (let index = 0; index < 10; index += 1) {
      const bytes = random.bytes(new Uint8Array(random.below(100_000)));
      const offset = random.below(size - bytes.length);
      await base.device.write(offset, bytes);
      expected.set(bytes, offset);
    }
    await base.device.close();
  }
  await createVmdk('/disk.vmdk', { ...rest, folder, ...(parent ? { parent: '/base.vmdk' } : { size }) });
  return { folder, expected };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PrimaError, String(error));
  return error.code;
}

for (const [name, options] of Object.entries(cases)) {
  deviceConformance(name, () => make(options), { rounds: 20 });
}

/** The same on files of the file system. */
async function makeLocal({ parent, ...options }: Case): Promise<DeviceUnderTest> {
  const place = await realpath(await mkdtemp(join(tmpdir(), 'prima-vmdk-')));
  const path = join(place, 'disk.vmdk');
  const base = join(place, 'base.vmdk');
  if (parent) await createVmdk(base, { createType: 'monolithicFlat', size });
  await createVmdk(path, { ...options, ...(parent ? { parent: base } : { size }) });
  const { device } = await openVmdk(path, { writable: true });
  return { device, dispose: () => rm(place, { recursive: true }) };
}

for (const [name, options] of Object.entries(cases)) {
  deviceConformance(`${name}, on files`, () => makeLocal(options), { rounds: 8 });
}

/** Opens `/disk.vmdk` again and again, each time changes it a little, and compares all of it with the model. */
async function changeAndReopen(folder: MemoryFolder, model: Uint8Array, random: Random): Promise<void> {
  for (let round = 0; round < 6; round += 1) {
    const { device } = await openVmdk('/disk.vmdk', { folder, writable: true });
    await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        // each in a stretch of its own, for those that overlap must not be under way together
        const stretch = Math.floor(size / 12);
        const length = random.below(4) === 0 ? 512 : random.below(stretch);
        const offset = index * stretch + random.below(stretch - length + 1);
        const bytes = random.below(3) === 0 ? undefined : random.bytes(new Uint8Array(length));
        if (bytes) model.set(bytes, offset);
        else model.fill(0, offset, offset + length);
        await (bytes ? device.write(offset, bytes) : device.zero({ offset, length }));
        if (random.below(6) === 0) await device.flush();
      }),
    );
    await device.close();
    await assertHolds(folder, model);
  }
}

async function assertHolds(folder: MemoryFolder, model: Uint8Array): Promise<void> {
  const { device, info } = await openVmdk('/disk.vmdk', { folder });
  const found = new Uint8Array(device.size);
  await device.read(0, found);
  await device.close();
  assert.equal(Buffer.compare(found, model), 0, 'the disk holds what the model does');
  assert.deepEqual(info.notes, []);
}

for (const [name, options] of Object.entries(cases)) {
  test(`${name}: what was written is there when it is opened again, and the parent is as it was`, async () => {
    const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
    const { folder, expected } = await makeDisk(options);
    const before = await hashes(folder, '/base.vmdk');
    const { info } = await openVmdk('/disk.vmdk', { folder });
    try {
      await changeAndReopen(folder, expected, seededRandom(seed));
    } catch (error) {
      throw new Error(`with PRIMA_SEED=${seed}: ${String(error)}`, { cause: error });
    }
    assert.equal(await hashes(folder, '/base.vmdk'), before);
    const after = await openVmdk('/disk.vmdk', { folder });
    assert.notEqual(after.info.cid, info.cid, 'a change of content is a new CID');
    assert.equal(after.info.ddb.get('longcontentid')?.slice(-8), formatCid(after.info.cid ?? 0));
  });
}

async function hashes(folder: MemoryFolder, path: string): Promise<string> {
  const file = folder.files.get(path);
  if (!file) return '';
  const bytes = new Uint8Array(file.size);
  await file.read(0, bytes);
  return createHash('sha256').update(bytes).digest('hex');
}

test('opening for writing changes nothing until something is written', async () => {
  const { folder } = await makeDisk({ createType: 'monolithicSparse' });
  const before = await hashes(folder, '/disk.vmdk');
  const { device } = await openVmdk('/disk.vmdk', { folder, writable: true });
  await device.read(0, new Uint8Array(512));
  await device.write(0, new Uint8Array());
  await device.flush();
  await device.close();
  assert.equal(await hashes(folder, '/disk.vmdk'), before);
});

test('a disk of many extents and large gaps', async () => {
  const folder = memoryFolder();
  const large = 9 * GiB + 512;
  for (const createType of ['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat'] as const) {
    const path = `/${createType}.vmdk`;
    const { files } = await createVmdk(path, { createType, size: large, folder });
    assert.equal(files.length, 6);
    const { device, info } = await openVmdk(path, { folder, writable: true });
    assert.equal(device.size, large);
    assert.equal(info.extents.length, 5);
    const border = 4_192_256 * 512;
    const bytes = seededRandom(1).bytes(new Uint8Array(4096));
    for (const offset of [border - 2000, 3 * border - 512, large - 4096]) await device.write(offset, bytes);
    await device.close();
    const again = await openVmdk(path, { folder });
    const found = new Uint8Array(4096);
    await again.device.read(border - 2000, found);
    assert.deepEqual(found, bytes);
    const extents = await collectExtents(again.device.extents({ offset: 0, length: large }));
    const data = extents.filter(({ kind }) => kind === 'data').reduce((sum, { length }) => sum + length, 0);
    assert.ok(data >= 3 * 4096 && data <= 6 * 64 * 1024, `${data} bytes of data`);
  }
});

test('a chain longer than anybody makes one, and one that is a circle', async () => {
  const folder = memoryFolder();
  await createVmdk('/0.vmdk', { createType: 'monolithicFlat', size: 64 * 1024, folder });
  for (let depth = 0; depth <= 255; depth += 1) {
    if (depth > 0) {
      const parent = `/${depth - 1}.vmdk`;
      await createVmdk(`/${depth}.vmdk`, { createType: 'vmfsSparse', parent, folder });
    }
    if (depth % 50 !== 0) continue;
    const { device } = await openVmdk(`/${depth}.vmdk`, { folder, writable: true, parents: false });
    await device.write((depth / 50) * 512, new Uint8Array(512).fill(depth));
    await device.close();
  }
  const { device, info } = await openVmdk('/255.vmdk', { folder });
  assert.equal(info.parents.length, 255);
  const found = new Uint8Array(64 * 1024);
  await device.read(0, found);
  for (let sector = 0; sector <= 5; sector += 1) assert.equal(found[sector * 512 + 7], sector * 50);
  assert.equal((await collectExtents(device.extents({ offset: 0, length: 1024 }))).length, 1);
  await createVmdk('/256.vmdk', { createType: 'vmfsSparse', parent: '/255.vmdk', folder });
  assert.equal(await codeOf(openVmdk('/256.vmdk', { folder })), 'refused');
  const circle = folder.files.get('/1.vmdk');
  const text = Buffer.alloc(circle?.size ?? 0);
  await circle?.read(0, text);
  await folder.replace('/1.vmdk', Buffer.from(text.toString().replace('"0.vmdk"', '"1.vmdk"')));
  assert.equal(await codeOf(openVmdk('/1.vmdk', { folder })), 'refused');
});

test('a parent that was written since is refused, or noted', async () => {
  const { folder } = await makeDisk({ createType: 'vmfsSparse', parent: true });
  const base = await openVmdk('/base.vmdk', { folder, writable: true });
  await base.device.write(0, new Uint8Array(512));
  await base.device.close();
  assert.equal(await codeOf(openVmdk('/disk.vmdk', { folder })), 'refused');
  const { info } = await openVmdk('/disk.vmdk', { folder, onParentMismatch: 'note' });
  assert.equal(info.notes.length, 1);
});

test('nothing is left of a disk that could not be made', async () => {
  const folder = memoryFolder();
  await folder.create('/a-s003.vmdk', '/', 0);
  const options = { createType: 'twoGbMaxExtentSparse', size: 9 * GiB, folder } as const;
  assert.equal(await codeOf(createVmdk('/a.vmdk', options)), 'exists');
  assert.deepEqual([...folder.files.keys()], ['/a-s003.vmdk']);
  const wrong: Partial<CreateVmdkOptions>[] = [
    { size: 100 },
    { size: 0 },
    { createType: 'vmfsSparse' },
    { createType: 'monolithicFlat', parent: '/a-s003.vmdk' },
    { grainSectors: 100 },
  ];
  for (const change of wrong)
    assert.equal(await codeOf(createVmdk('/b.vmdk', { ...options, ...change })), 'usage');
  assert.deepEqual([...folder.files.keys()], ['/a-s003.vmdk']);
});

test('parents are looked for beside the child first', () => {
  assert.deepEqual(parentNames('base.vmdk'), ['base.vmdk']);
  assert.deepEqual(parentNames('../a/base.vmdk'), ['../a/base.vmdk', 'base.vmdk']);
  assert.deepEqual(parentNames('/vmfs/volumes/x/base.vmdk'), ['base.vmdk', '/vmfs/volumes/x/base.vmdk']);
  assert.deepEqual(parentNames('C:\\vm\\base.vmdk'), ['base.vmdk', 'C:\\vm\\base.vmdk']);
});
