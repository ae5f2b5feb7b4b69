/** What needs no file system; tests/interop/skip-free-space.test.ts backs up real ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Range, seededRandom } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { fakeRepository } from '../fake-repository-fixture.ts';
import { backup } from './backup.ts';
import { differingRanges, freeSpaceNotes } from './free-space.ts';
import type { BackupSource } from './source.ts';

test('what is in exactly one of two lists, against a plain loop', () => {
  const random = seededRandom(11);
  const list = (): Range[] => {
    const ranges: Range[] = [];
    for (let at = random.below(5); at < 90; at += random.below(9)) {
      const length = 1 + random.below(8);
      ranges.push({ offset: at, length });
      at += length;
    }
    return ranges;
  };
  const has = (ranges: readonly Range[], at: number) =>
    ranges.some(({ offset, length }) => offset <= at && at < offset + length);
  for (let round = 0; round < 500; round += 1) {
    const [a, b] = [list(), random.below(5) === 0 ? [] : list()];
    const found = differingRanges(a, b);
    for (let at = 0; at < 120; at += 1) {
      assert.equal(has(found, at), has(a, at) !== has(b, at), `round ${round}, byte ${at}`);
    }
    assert.deepEqual(differingRanges(a, a), []);
  }
});

test('what is said about it', () => {
  assert.deepEqual(freeSpaceNotes('disk0', undefined), []);
  assert.deepEqual(
    freeSpaceNotes('disk0', { rules: 1, bytes: 2048, kept: ['partition 2 (ntfs): it is marked as dirty'] }),
    [
      'disk0: 2.00 KiB of free space were left out, and read as zeros',
      'disk0: free space was not left out: partition 2 (ntfs): it is marked as dirty',
    ],
  );
});

const size = 1024 * 1024;

function source(hasMemory = false): BackupSource {
  return {
    machine: { id: 'uuid-1', name: 'web01' },
    open: async ({ since }) => ({
      mode: 'cold',
      quiesced: false,
      why: [],
      pointInTime: Date.UTC(2026, 0, 1),
      disks: [
        {
          disk: { name: 'disk0', slot: 'scsi0:0', path: '/srv/a.raw', format: 'raw', size },
          device: memoryDevice(size),
          ...(since !== undefined && { changed: [] }),
        },
      ],
      skipped: [],
      files: [],
      checkpoint: { platform: 'fake', version: 1 },
      ...(hasMemory && { memory: memoryDevice(4096) }),
      succeed: async () => undefined,
      close: async () => undefined,
    }),
  };
}

test('nothing is said or done unless it is asked for, and then why not is said', async () => {
  const plain = (await backup(fakeRepository(), source())).point;
  assert.deepEqual([plain.disks[0]?.freeSpace, plain.notes], [undefined, []]);
  const { point } = await backup(fakeRepository(), source(), { skipFreeSpace: true });
  const why = 'no partition and no file system is known on it';
  assert.deepEqual(point.disks[0]?.freeSpace, { rules: 1, bytes: 0, kept: [why] });
  assert.deepEqual(point.notes, [`disk0: free space was not left out: ${why}`]);
});

test('with memory in the point nothing is left out', async () => {
  const { point } = await backup(fakeRepository(), source(true), { skipFreeSpace: true });
  assert.match(point.disks[0]?.freeSpace?.kept.join() ?? '', /memory is in the point/);
});

test('on top of a point whose free space cannot be told any more, everything is read', async () => {
  const cases: [{ rules: number; bytes: number }, RegExp][] = [
    [{ rules: 99, bytes: 512 }, /by rules of another version/],
    [{ rules: 1, bytes: 512 }, /cannot be told any more/],
  ];
  for (const [freeSpace, wanted] of cases) {
    const repository = fakeRepository();
    const { point } = await backup(repository, source());
    const [disk] = point.disks;
    assert.ok(disk);
    disk.freeSpace = { ...freeSpace, kept: [] };
    const next = (await backup(repository, source())).point;
    assert.equal(next.disks[0]?.changed, 'all');
    assert.match(next.disks[0]?.whyFull ?? '', wanted);
    assert.equal((await backup(repository, source())).point.disks[0]?.changed, 'tracked');
  }
});
