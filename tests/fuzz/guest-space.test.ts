/**
 * Damaged file systems: nothing but an answer comes back, whatever was hit; and where structures have checksums, the
 * answer is the right one or none.
 */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, type Range, runProgram } from '@prima/base';
import { type BlockDevice, filterDevice, openRawFile } from '@prima/block';
import { findFreeSpace } from '@prima/formats';
import { answerOf, fuzzRun, mutate, temporaryFolder } from '@prima/testbed';

/** A device that remembers what was read of it, and gives some of it changed. */
function damaged(device: BlockDevice, read: Range[], hit?: { range: Range; bytes: Buffer }): BlockDevice {
  return filterDevice(device, {
    read: async (offset, into) => {
      read.push({ offset, length: into.length });
      await device.read(offset, into);
      if (!hit) return;
      const from = Math.max(offset, hit.range.offset);
      const to = Math.min(offset + into.length, hit.range.offset + hit.range.length);
      if (to > from)
        into.set(hit.bytes.subarray(from - hit.range.offset, to - hit.range.offset), from - offset);
    },
  });
}

const systems: [name: string, hasChecksums: boolean, size: number, command: string[]][] = [
  ['ext4', true, 160, ['mke2fs', '-q', '-F', '-t', 'ext4']],
  [
    'ext4 with uninit_bg',
    false,
    160,
    ['mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^metadata_csum,uninit_bg', '-b', '1024'],
  ],
  ['ext2', false, 64, ['mke2fs', '-q', '-F', '-t', 'ext2']],
  ['XFS', true, 320, ['mkfs.xfs', '-q', '-f', '-m', 'rmapbt=1']],
  ['old XFS', false, 320, ['mkfs.xfs', '-q', '-f', '-m', 'crc=0']],
  ['NTFS', false, 32, ['mkfs.ntfs', '-q', '-Q', '-F']],
];

for (const [name, hasChecksums, size, [program = '', ...args]] of systems) {
  test(`${name}, hit wherever it was read`, async (context) => {
    const { seed, rounds, random } = fuzzRun(400);
    const path = join(await temporaryFolder(context), 'fs.raw');
    await using file = await open(path, 'w');
    await file.truncate(size * MiB);
    await runProgram(program, [...args, path]);
    const device = await openRawFile(path);
    try {
      const read: Range[] = [];
      const whole = await findFreeSpace(damaged(device, read), { smallest: 1 });
      assert.ok(whole.ranges.length > 0, JSON.stringify(whole));
      // the first reads look for signatures, and take much more than is used
      const places = read.filter(({ length }) => length <= 65_536);
      for (let round = 0; round < rounds; round += 1) {
        const place = places[random.below(places.length)] ?? { offset: 0, length: 4096 };
        const start = place.offset + random.below(Math.max(1, place.length - 63));
        const range = { offset: start, length: Math.min(64, device.size - start) };
        const original = Buffer.alloc(range.length);
        await device.read(range.offset, original);
        const bytes = Buffer.alloc(range.length);
        mutate(random, original).copy(bytes);
        const where = `seed ${seed}, round ${round}, at ${range.offset}: ${bytes.toString('hex')}`;
        const found = await answerOf(
          () => findFreeSpace(damaged(device, [], { range, bytes }), { smallest: 1 }),
          where,
        );
        assert.ok(found, where);
        for (const { offset, length } of found.ranges)
          assert.ok(offset >= 0 && offset + length <= device.size, where);
        if (hasChecksums && found.ranges.length > 0) assert.deepEqual(found.ranges, whole.ranges, where);
      }
    } finally {
      await device.close();
    }
  });
}
