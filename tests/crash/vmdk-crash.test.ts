/**
 * Every moment at which a writer of a VMDK can die: what was flushed reads back, every other sector is what it was or
 * what was last written to it, and a check finds nothing that a repair does not mend.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MiB, type Random, seededRandom } from '@prima/base';
import type { WritableDevice } from '@prima/block';
import { type CreateVmdkOptions, checkVmdk, createVmdk, openVmdk } from '@prima/formats';
import { fuzzRun } from '@prima/testbed';
import { OpenedHosted } from '../../packages/formats/src/vmdk/check-fixture.ts';
import { type MemoryFolder, memoryFolder } from '../../packages/formats/src/vmdk/memory-folder.ts';
import { crashedFolder, type Recording, recordingFolder } from './vmdk-recording-folder.ts';

const size = 5 * MiB + 512 * 3;
const disk = '/disk.vmdk';

type Kind = Omit<CreateVmdkOptions, 'folder' | 'size' | 'parent'> & { parent?: boolean; bare?: boolean };

const kinds: Record<string, Kind> = {
  'hosted sparse': { createType: 'monolithicSparse', grainSectors: 16 },
  'hosted sparse without any tables': { createType: 'monolithicSparse', grainSectors: 16, bare: true },
  'hosted sparse over a parent': { createType: 'monolithicSparse', grainSectors: 128, parent: true },
  'hosted sparse with zeroed grains over a parent': {
    createType: 'monolithicSparse',
    grainSectors: 16,
    zeroedGrains: true,
    parent: true,
  },
  'a redo log with a grain of a sector': { createType: 'vmfsSparse', parent: true },
  'a redo log with a grain of 7 sectors': { createType: 'vmfsSparse', grainSectors: 7, parent: true },
  flat: { createType: 'monolithicFlat' },
  'split sparse': { createType: 'twoGbMaxExtentSparse', grainSectors: 16 },
  'split flat': { createType: 'twoGbMaxExtentFlat' },
};

interface Write {
  offset: number;
  bytes: Uint8Array;
  /** Lengths of the log when it was called and when it had resolved. */
  begun: number;
  done: number;
}

interface Story extends Recording {
  start: Map<string, Uint8Array>;
  /** What the disk held at the beginning. */
  first: Buffer;
  writes: Write[];
  flushes: { begun: number; done: number }[];
}

async function contentsOf(folder: MemoryFolder): Promise<Map<string, Uint8Array>> {
  const contents = new Map<string, Uint8Array>();
  for (const [path, file] of folder.files) {
    const bytes = new Uint8Array(file.size);
    await file.read(0, bytes);
    contents.set(path, bytes);
  }
  return contents;
}

async function makeDisk(
  folder: MemoryFolder,
  { parent, bare, ...options }: Kind,
  random: Random,
): Promise<void> {
  if (parent) {
    await createVmdk('/base.vmdk', { createType: 'monolithicFlat', size, folder });
    const { device } = await openVmdk('/base.vmdk', { folder, writable: true });
    await device.write(MiB / 2, random.bytes(new Uint8Array(3 * MiB)));
    await device.close();
  }
  await createVmdk(disk, { ...options, folder, ...(parent ? { parent: '/base.vmdk' } : { size }) });
  if (!bare) return;
  // a writer may leave tables out that name nothing
  const opened = new OpenedHosted(Buffer.from((await contentsOf(folder)).get(disk) ?? []));
  for (const which of [0, 1] as const) {
    for (let index = 0; index * 4 * MiB < size; index += 1) opened.setTable(which, index, 0);
  }
  await folder.replace(disk, opened.bytes);
}

async function readAll(folder: MemoryFolder): Promise<Buffer> {
  const { device } = await openVmdk(disk, { folder });
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  await device.close();
  return bytes;
}

async function tell(kind: Kind, random: Random): Promise<Story> {
  const inner = memoryFolder();
  await makeDisk(inner, kind, random);
  const start = await contentsOf(inner);
  const first = await readAll(inner);
  const story: Story = { ...recordingFolder(inner, random), start, first, writes: [], flushes: [] };
  for (let session = 0; session < 3; session += 1) {
    const { device } = await openVmdk(disk, { folder: story.folder, writable: true });
    for (let round = 0; round < 6; round += 1) await changeSome(device, story, random);
    const begun = story.log.length;
    await device.close();
    // closing makes all durable that a sparse disk was told; a flat one has nothing to close
    if (random.below(2) === 0 && !/flat/i.test(kind.createType))
      story.flushes.push({ begun, done: story.log.length });
  }
  return story;
}

/** Changes at once, each in a stretch of its own; sometimes a flush among them. */
async function changeSome(device: WritableDevice, story: Story, random: Random): Promise<void> {
  const stretch = Math.floor(size / 512 / 8) * 512;
  const calls = Array.from({ length: 8 }, async (_, index) => {
    if (random.below(3) === 0) return;
    const length = 512 * (1 + random.below(random.below(3) === 0 ? stretch / 512 : 40));
    const offset = index * stretch + 512 * random.below((stretch - length) / 512 + 1);
    const isZero = random.below(4) === 0;
    const bytes = isZero ? new Uint8Array(length) : random.bytes(new Uint8Array(length));
    const write: Write = { offset, bytes, begun: story.log.length, done: Number.POSITIVE_INFINITY };
    story.writes.push(write);
    await (isZero ? device.zero({ offset, length }) : device.write(offset, bytes));
    write.done = story.log.length;
  });
  if (random.below(2) === 0) calls.push(flush(device, story));
  await Promise.all(calls);
  if (random.below(3) === 0) await flush(device, story);
}

async function flush(device: WritableDevice, { log, flushes }: Story): Promise<void> {
  const begun = log.length;
  await device.flush();
  flushes.push({ begun, done: log.length });
}

/** Each sector is what was flushed last, or something that was written since. */
function assertAllowed(found: Buffer, story: Story, length: number, where: string): Buffer {
  const last = story.flushes.filter(({ done }) => done <= length).at(-1);
  const durable = Buffer.from(story.first);
  const open: Write[] = [];
  for (const write of story.writes) {
    if (write.done <= (last?.begun ?? -1)) durable.set(write.bytes, write.offset);
    else if (write.begun <= length) open.push(write);
  }
  for (let at = 0; at < size; at += 512) {
    const sector = found.subarray(at, at + 512);
    if (sector.equals(durable.subarray(at, at + 512))) continue;
    const isNew = open.some(
      ({ offset, bytes }) =>
        at >= offset &&
        at < offset + bytes.length &&
        sector.equals(bytes.subarray(at - offset, at - offset + 512)),
    );
    assert.ok(isNew, `${where}: sector ${at / 512} is neither what it was nor what was written`);
  }
  return durable;
}

const harmless = [
  'unclean',
  'copies-differ',
  'copy-broken',
  'free-sector-wrong',
  'grains-lost',
  'tail-unused',
];

async function assertMended(folder: MemoryFolder, where: string): Promise<void> {
  const { findings, refusals } = await checkVmdk(disk, { folder, repair: true });
  const bad = findings.filter(
    // the first table of a disk that had none got into one of the directories only
    ({ code, message }) =>
      !harmless.includes(code) && !/directory . is empty, though the other/.test(message),
  );
  assert.deepEqual(bad, [], where);
  assert.deepEqual(refusals, [], where);
  const again = await checkVmdk(disk, { folder });
  const left = again.findings.filter(({ code }) => !['grains-lost', 'tail-unused'].includes(code));
  assert.deepEqual(left, [], `${where}, after the repair`);
}

for (const [name, kind] of Object.entries(kinds)) {
  test(`${name}: a crash at any moment loses nothing that was flushed`, async () => {
    const { seed, rounds, random } = fuzzRun(25);
    const story = await tell(kind, random);
    assert.ok(story.log.length > 50 && story.flushes.length > 3, `PRIMA_SEED=${seed}: enough has happened`);
    for (let round = 0; round < rounds; round += 1) {
      const length = random.below(story.log.length + 1);
      const where = `PRIMA_SEED=${seed}, a crash after ${length} calls of ${story.log.length} (round ${round})`;
      const folder = await crashedFolder(story.start, story.log, {
        length,
        random: seededRandom(seed + round),
      });
      const before = await readAll(folder);
      assertAllowed(before, story, length, where);
      await assertMended(folder, where);
      const after = await readAll(folder);
      assertAllowed(after, story, length, `${where}, after the repair`);
      assert.deepEqual(before.length, after.length);
    }
  });
}
