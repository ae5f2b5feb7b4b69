/** VMDKs between Prima and QEMU's tools: every kind that both know, read and written by each after the other. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { MiB, PrimaError, type Random, runProgram, seededRandom } from '@prima/base';
import { collectExtents, compareDevices, copyDevice, openRawFile, type WritableDevice } from '@prima/block';
import {
  type CreateVmdkOptions,
  checkVmdk,
  createVmdk,
  newDescriptor,
  openVmdk,
  writeDescriptor,
} from '@prima/formats';
import { seSparseFile, seSparseReplayOffset } from '../../packages/formats/src/vmdk/se-sparse-fixture.ts';

let folder = '';
const at = (name: string) => join(folder, name);
const size = 70 * MiB + 512 * 3;
const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
const qemuImg = (...args: string[]) => runProgram('qemu-img', args);

beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), 'prima-vmdk-')));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

interface Change {
  offset: number;
  bytes: Uint8Array;
}

/** Changes of whole sectors (which is what guests do), some over more than a grain, some at its borders. */
function someChanges(random: Random, count: number): Change[] {
  return Array.from({ length: count }, () => {
    const length = 512 * (1 + random.below(random.below(3) === 0 ? 600 : 20));
    const near =
      random.below(2) === 0 ? 512 * random.below(size / 512) : 65_536 * random.below(size / 65_536);
    const offset = Math.min(near, size - length);
    return { offset, bytes: new Uint8Array(length).fill(1 + random.below(255)) };
  });
}

async function applyOurs(path: string, changes: readonly Change[]): Promise<void> {
  const { device } = await openVmdk(path, { writable: true });
  try {
    for (const { offset, bytes } of changes) await device.write(offset, bytes);
  } finally {
    await device.close();
  }
}

async function applyQemu(path: string, changes: readonly Change[], format = 'vmdk'): Promise<void> {
  const commands = changes.flatMap(({ offset, bytes }) => [
    '-c',
    `write -P ${bytes[0]} ${offset} ${bytes.length}`,
  ]);
  await runProgram('qemu-io', ['-f', format, ...commands, path]);
}

async function applyModel(model: WritableDevice, changes: readonly Change[]): Promise<void> {
  for (const { offset, bytes } of changes) await model.write(offset, bytes);
}

/** Both read `path` as what `model.raw` holds, and both find it in order. */
async function assertBothRead(path: string, model: WritableDevice): Promise<void> {
  const { device, info } = await openVmdk(path);
  try {
    assert.equal(device.size, model.size);
    const { differences } = await compareDevices(device, model);
    assert.deepEqual(differences, [], `seed ${seed}: we read ${path} as it should be`);
    const extents = await collectExtents(device.extents({ offset: 0, length: size }));
    const mapped = JSON.parse((await qemuImg('map', '--output=json', path)).stdout) as {
      length: number;
      zero: boolean;
    }[];
    const length = (kinds: { length: number; used: boolean }[]) =>
      kinds.reduce((sum, extent) => sum + (extent.used ? extent.length : 0), 0);
    if (!info.extents.some(({ format }) => format === 'flat')) {
      assert.equal(
        length(extents.map((extent) => ({ ...extent, used: extent.kind === 'data' }))),
        length(mapped.map((extent) => ({ ...extent, used: !extent.zero }))),
        `seed ${seed}: as much is allocated for us as for QEMU`,
      );
    }
  } finally {
    await device.close();
  }
  await qemuImg('compare', '-f', 'vmdk', '-F', 'raw', path, at('model.raw'));
  const { findings } = await checkVmdk(path);
  const bad = findings.filter(({ severity, code }) => severity !== 'info' && code !== 'free-sector-wrong');
  assert.deepEqual(bad, [], `seed ${seed}`);
}

const subformats: Record<string, string[]> = {
  monolithicSparse: [],
  monolithicFlat: [],
  twoGbMaxExtentSparse: [],
  twoGbMaxExtentFlat: [],
  'monolithicSparse with zeroed grains': ['zeroed_grain=on'],
};

for (const [name, extra] of Object.entries(subformats)) {
  test(`${name}: what QEMU made and wrote, we read, write and it reads again`, async () => {
    const random = seededRandom(seed);
    const [subformat = ''] = name.split(' ');
    await using model = await openModel();
    const path = at('disk.vmdk');
    const options = [`subformat=${subformat}`, ...extra].join(',');
    await qemuImg('create', '-q', '-f', 'vmdk', '-o', options, path, String(size));
    for (let round = 0; round < 3; round += 1) {
      const theirs = someChanges(random, 8);
      await applyQemu(path, theirs);
      await applyModel(model.device, theirs);
      await assertBothRead(path, model.device);
      const ours = someChanges(random, 8);
      await applyOurs(path, ours);
      await applyModel(model.device, ours);
      await assertBothRead(path, model.device);
    }
  });
}

const ourKinds: Record<string, CreateVmdkOptions> = {
  monolithicSparse: { createType: 'monolithicSparse', size },
  'monolithicSparse with zeroed grains': { createType: 'monolithicSparse', size, zeroedGrains: true },
  monolithicFlat: { createType: 'monolithicFlat', size },
  twoGbMaxExtentSparse: { createType: 'twoGbMaxExtentSparse', size, adapterType: 'ide' },
  twoGbMaxExtentFlat: { createType: 'twoGbMaxExtentFlat', size, allocation: 'zeroedthick' },
  'vmfs thin': { createType: 'vmfs', size },
  'vmfs eagerzeroedthick': { createType: 'vmfs', size, allocation: 'eagerzeroedthick' },
};

for (const [name, options] of Object.entries(ourKinds)) {
  test(`${name}: what we made and wrote, QEMU reads, writes and we read again`, async () => {
    const random = seededRandom(seed);
    await using model = await openModel();
    const path = at('disk.vmdk');
    await createVmdk(path, options);
    for (let round = 0; round < 2; round += 1) {
      const ours = someChanges(random, 10);
      await applyOurs(path, ours);
      await applyModel(model.device, ours);
      await assertBothRead(path, model.device);
      const theirs = someChanges(random, 8);
      await applyQemu(path, theirs);
      await applyModel(model.device, theirs);
      await assertBothRead(path, model.device);
    }
  });
}

const children: Record<string, Partial<CreateVmdkOptions> & { createType: CreateVmdkOptions['createType'] }> =
  {
    'COWD with a grain of a sector': { createType: 'vmfsSparse' },
    'COWD with a grain of 8 sectors': { createType: 'vmfsSparse', grainSectors: 8 },
    'hosted sparse': { createType: 'monolithicSparse' },
    'hosted sparse with zeroed grains': { createType: 'monolithicSparse', zeroedGrains: true },
  };

for (const [name, options] of Object.entries(children)) {
  test(`a chain of three, ${name} twice over a flat one: both read and write it`, async () => {
    const random = seededRandom(seed);
    await using model = await openModel();
    await createVmdk(at('base.vmdk'), { createType: 'vmfs', size });
    const base = someChanges(random, 20);
    await applyOurs(at('base.vmdk'), base);
    await applyModel(model.device, base);
    let parent = at('base.vmdk');
    for (const child of ['one.vmdk', 'two.vmdk']) {
      await createVmdk(at(child), { ...options, parent });
      // QEMU 7.2 makes no COWD grain tables: it would write the data of such grains over the file's header
      const touch = Array.from({ length: Math.ceil(size / (2 * MiB)) }, (_, index) => ({
        offset: index * 2 * MiB,
        bytes: new Uint8Array(512).fill(index + 1),
      }));
      await applyOurs(at(child), touch);
      await applyModel(model.device, touch);
      for (const apply of [applyOurs, applyQemu, applyOurs]) {
        const changes = someChanges(random, 6);
        await apply(at(child), changes);
        await applyModel(model.device, changes);
        await assertBothRead(at(child), model.device);
      }
      parent = at(child);
    }
    const { device } = await openVmdk(parent, { writable: true });
    await device.zero({ offset: MiB + 100, length: 20 * MiB });
    await model.device.zero({ offset: MiB + 100, length: 20 * MiB });
    await device.close();
    await assertBothRead(parent, model.device);
  });
}

test('streamOptimized, from front to end and at random', async () => {
  const random = seededRandom(seed);
  await using model = await openModel();
  await applyModel(model.device, someChanges(random, 40));
  await model.device.write(5 * MiB + 7 * 512, random.bytes(new Uint8Array(3 * MiB)));
  await qemuImg(
    'convert',
    '-U', // we have it open for writing
    '-f',
    'raw',
    '-O',
    'vmdk',
    '-o',
    'subformat=streamOptimized',
    at('model.raw'),
    at('a.vmdk'),
  );
  await assertBothRead(at('a.vmdk'), model.device);
  const { device } = await openVmdk(at('a.vmdk'));
  for (let round = 0; round < 200; round += 1) {
    const offset = random.below(size);
    const found = new Uint8Array(Math.min(1 + random.below(100_000), size - offset));
    const wanted = new Uint8Array(found.length);
    await Promise.all([device.read(offset, found), model.device.read(offset, wanted)]);
    assert.ok(Buffer.from(found).equals(wanted), `seed ${seed}: ${offset}+${found.length}`);
  }
  await device.close();
  await assert.rejects(openVmdk(at('a.vmdk'), { writable: true }), /streamOptimized/);
});

test('seSparse: QEMU reads the hand-made one as we do', async () => {
  const random = seededRandom(seed);
  const sectors = 6 * 4096 * 8;
  const grains = new Map<number, Uint8Array | 0 | 1 | 2>();
  for (let grain = 0; grain < 9000; grain += 1 + random.below(3)) {
    const kind = random.below(4);
    grains.set(grain, kind === 3 ? new Uint8Array(4096).fill(1 + random.below(255)) : (kind as 0 | 1 | 2));
  }
  grains.set(5 * 4096 + 17, new Uint8Array(4096).fill(7));
  const file = seSparseFile(sectors, grains);
  await writeFile(at('a-sesparse.vmdk'), file);
  const descriptor = newDescriptor({
    cid: 5,
    createType: 'seSparse',
    extents: [{ access: 'RW', sectors, type: 'SESPARSE', file: 'a-sesparse.vmdk', offset: 0 }],
    ddb: { adapterType: 'lsilogic' },
  });
  await writeFile(at('a.vmdk'), writeDescriptor(descriptor));
  await qemuImg('convert', '-f', 'vmdk', '-O', 'raw', at('a.vmdk'), at('theirs.raw'));
  const { device } = await openVmdk(at('a.vmdk'));
  const ours = new Uint8Array(device.size);
  await device.read(0, ours);
  await device.close();
  assert.ok((await readFile(at('theirs.raw'))).equals(ours), `seed ${seed}`);
  file[seSparseReplayOffset] = 1;
  await writeFile(at('a-sesparse.vmdk'), file);
  const failed = await openVmdk(at('a.vmdk')).catch((error: unknown) => error);
  assert.ok(failed instanceof PrimaError && failed.code === 'state', String(failed));
});

test('copies are as large as qemu-img’s', async () => {
  await using model = await openModel();
  await applyModel(model.device, someChanges(seededRandom(seed), 60));
  await createVmdk(at('ours.vmdk'), { createType: 'monolithicSparse', size });
  const ours = await openVmdk(at('ours.vmdk'), { writable: true });
  await copyDevice(model.device, ours.device, { targetIsZero: true });
  await ours.device.flush();
  await ours.device.close();
  await qemuImg('convert', '-U', '-f', 'raw', '-O', 'vmdk', at('model.raw'), at('theirs.vmdk'));
  await assertBothRead(at('ours.vmdk'), model.device);
  const [mine, other] = await Promise.all([readFile(at('ours.vmdk')), readFile(at('theirs.vmdk'))]);
  assert.equal(mine.length, other.length);
});

async function openModel(): Promise<{ device: WritableDevice } & AsyncDisposable> {
  const device = await openRawFile(at('model.raw'), { create: { size } });
  return { device, [Symbol.asyncDispose]: () => device.close() };
}
