/** Backups without free space of real file systems, on top of each other: what comes back is all there. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { intersect, KiB, mergeRanges, MiB, type Range, runProgram } from '@prima/base';
import { compareDevices, copyDevice, holeDevice, openRawFile } from '@prima/block';
import { backup, type BackupOptions, type BackupSource, diskFileSource } from '@prima/engine';
import { findFreeSpace } from '@prima/formats';
import { createRepository, type Point, type Repository } from '@prima/repository';
import { memoryStore } from '@prima/storage';
import { temporaryFolder } from '@prima/testbed';

const size = 128 * MiB;

interface Lab {
  folder: string;
  disk: string;
  repository: Repository;
}

/** An ext4 with a file, and noise from former files all over its free space; a repository. */
async function makeLab(context: TestContext): Promise<Lab> {
  const folder = await temporaryFolder(context);
  const disk = join(folder, 'disk.raw');
  await using file = await open(disk, 'w');
  await file.truncate(size);
  await mkdir(join(folder, 'in'));
  await writeFile(join(folder, 'in/first'), randomBytes(5 * MiB + 77));
  await runProgram('mke2fs', ['-q', '-F', '-t', 'ext4', '-d', join(folder, 'in'), disk]);
  for (const { offset, length } of await freeOf(disk))
    await file.write(randomBytes(length), 0, length, offset);
  const repository = await createRepository(memoryStore(), {
    secret: { kind: 'passphrase', text: 'x' },
    chunkSize: 256 * KiB,
    workers: 2,
    kdfCost: { memoryKiB: 8192, passes: 1, lanes: 1 },
  });
  context.after(() => repository.close());
  return { folder, disk, repository };
}

async function freeOf(path: string): Promise<Range[]> {
  const device = await openRawFile(path);
  try {
    return (await findFreeSpace(device)).ranges;
  } finally {
    await device.close();
  }
}

/** The disk as a machine whose host says that `changed` has changed. */
function trackedSource(path: string, changed: Range[]): BackupSource {
  return {
    machine: { id: 'uuid-1', name: 'web01' },
    open: async ({ since }) => {
      const device = await openRawFile(path);
      const disk = { name: 'disk0', slot: 'scsi0:0', path, format: 'raw', size };
      return {
        mode: 'cold',
        quiesced: false,
        why: [],
        pointInTime: Date.now(),
        disks: [{ disk, device, ...(since !== undefined && { changed }) }],
        skipped: [],
        files: [],
        checkpoint: { platform: 'fake', version: 1 },
        succeed: async () => undefined,
        close: () => device.close(),
      };
    },
  };
}

async function take({ repository, disk }: Lab, changed: Range[], options: BackupOptions): Promise<Point> {
  const { point } = await backup(repository, trackedSource(disk, changed), options);
  assert.deepEqual(point.warnings, []);
  return point;
}

/** Blocks of 4 KiB in which two files differ. */
async function differences(before: string, after: string): Promise<Range[]> {
  const [a, b] = [await readFile(before), await readFile(after)];
  const ranges: Range[] = [];
  for (let offset = 0; offset < size; offset += 4096) {
    if (a.compare(b, offset, offset + 4096, offset, offset + 4096) !== 0)
      ranges.push({ offset, length: 4096 });
  }
  return mergeRanges(ranges);
}

async function restored({ repository, folder }: Lab, point: Point): Promise<string> {
  const path = join(folder, `restored-${point.id}`);
  const target = await openRawFile(path, { create: { size } });
  const device = await repository.openDisk(point, 'disk0');
  await copyDevice(device, target);
  await device.close();
  await target.close();
  return path;
}

/** Holds a restored disk to the source: the same but for zeros in what is left out. */
async function assertHolds(lab: Lab, point: Point, leftOut: readonly Range[]): Promise<string> {
  const path = await restored(lab, point);
  const [found, source] = [await openRawFile(path), await openRawFile(lab.disk)];
  const different = await compareDevices(found, holeDevice(source, leftOut));
  assert.deepEqual(different.differences, []);
  await found.close();
  await source.close();
  return path;
}

async function fileIn(lab: Lab, disk: string, name: string): Promise<Buffer> {
  const out = join(lab.folder, `out-${name}`);
  await runProgram('debugfs', ['-R', `dump ${name} ${out}`, disk]);
  return await readFile(out);
}

/** Writes a file into the file system; what changed on the disk by that. */
async function writeInto(lab: Lab, name: string, bytes: Buffer): Promise<Range[]> {
  const before = `${lab.disk}.before`;
  await copyFile(lab.disk, before);
  await writeFile(join(lab.folder, name), bytes);
  await runProgram('debugfs', ['-w', '-R', `write ${join(lab.folder, name)} ${name}`, lab.disk]);
  await runProgram('e2fsck', ['-fp', lab.disk], { accept: [0, 1] });
  return await differences(before, lab.disk);
}

test('a file in formerly skipped space comes back, and so does everything else', async (context) => {
  const lab = await makeLab(context);
  const first = await take(lab, [], { skipFreeSpace: true });
  const before = await freeOf(lab.disk);
  const [disk] = first.disks;
  assert.equal(
    disk?.freeSpace?.bytes,
    before.reduce((sum, { length }) => sum + length, 0),
  );
  assert.ok((disk?.figures.read ?? size) < size / 4, 'free space was not read');
  assert.match(first.notes.join(), /disk0: 1\d\d MiB of free space were left out/);
  await runProgram('e2fsck', ['-fn', await assertHolds(lab, first, before)]);

  const bytes = randomBytes(20 * MiB + 5);
  const changed = await writeInto(lab, 'second', bytes);
  assert.ok(
    changed.some((range) => before.some((free) => intersect(range, free))),
    'it lies in skipped space',
  );
  const second = await take(lab, changed, { skipFreeSpace: true });
  assert.equal(second.disks[0]?.changed, 'tracked');
  const path = await assertHolds(lab, second, await freeOf(lab.disk));
  await runProgram('e2fsck', ['-fn', path]);
  assert.ok((await fileIn(lab, path, 'second')).equals(bytes));
});

test('blocks that come into use without being written are read all the same', async (context) => {
  const lab = await makeLab(context);
  await take(lab, [], { skipFreeSpace: true });
  const before = await freeOf(lab.disk);
  const bytes = randomBytes(3 * MiB);
  const changed = await writeInto(lab, 'undeleted', bytes);
  const outside = changed.filter((range) => !before.some((free) => intersect(range, free)));
  assert.ok(outside.length < changed.length);
  const second = await take(lab, outside, { skipFreeSpace: true });
  const path = await assertHolds(lab, second, await freeOf(lab.disk));
  assert.ok((await fileIn(lab, path, 'undeleted')).equals(bytes));
});

test('with and without the option, on top of each other, each is what it says', async (context) => {
  const lab = await makeLab(context);
  const free = await freeOf(lab.disk);
  await assertHolds(lab, await take(lab, [], {}), []);
  const skipping = await take(lab, [], { skipFreeSpace: true });
  assert.deepEqual(
    [skipping.disks[0]?.changed, (skipping.disks[0]?.figures.read ?? size) < size / 4],
    ['tracked', true],
  );
  await assertHolds(lab, skipping, free);
  await assertHolds(lab, await take(lab, [], { skipFreeSpace: true }), free);
  const whole = await take(lab, [], {});
  assert.deepEqual([whole.disks[0]?.changed, whole.disks[0]?.freeSpace], ['tracked', undefined]);
  await assertHolds(lab, whole, []);
});

test('files that are deleted make holes, and a file system that is in use makes none', async (context) => {
  const lab = await makeLab(context);
  await take(lab, [], { skipFreeSpace: true });
  const before = `${lab.disk}.before`;
  await copyFile(lab.disk, before);
  await runProgram('debugfs', ['-w', '-R', 'rm first', lab.disk]);
  await runProgram('e2fsck', ['-fp', lab.disk], { accept: [0, 1] });
  const second = await take(lab, await differences(before, lab.disk), { skipFreeSpace: true });
  await assertHolds(lab, second, await freeOf(lab.disk));
  await copyFile(lab.disk, before);
  await runProgram('debugfs', ['-w', '-R', 'feature needs_recovery', lab.disk]);
  const inUse = await take(lab, await differences(before, lab.disk), { skipFreeSpace: true });
  const kept = ['the disk (ext4): its journal has to be replayed: it was in use'];
  assert.deepEqual(inUse.disks[0]?.freeSpace, { rules: 1, bytes: 0, kept });
  await assertHolds(lab, inUse, []);
});

test('a bare disk file', async (context) => {
  const lab = await makeLab(context);
  const source = await diskFileSource(lab.disk, { lockFolder: lab.folder });
  const { point } = await backup(lab.repository, source, { skipFreeSpace: true });
  await assertHolds(lab, point, await freeOf(lab.disk));
});
