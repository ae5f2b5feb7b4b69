/** The pieces that need no file system; tests/interop/guest-space.test.ts has the real ones. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB, PrimaError, seededRandom } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { bootRecord } from '../partitions/tables-fixture.ts';
import { crc16, crc32c } from './crc.ts';
import { assertApart, clearRuns, FreeRanges } from './free-ranges.ts';
import { findFreeSpace } from './free-space.ts';
import { MetadataReader } from './metadata-reader.ts';
import { applyFixups, parseRuns } from './ntfs/record.ts';
import { isUnmountRecord } from './xfs/log.ts';

const digits = Buffer.from('123456789');

test('checksums have their known values, in pieces too', () => {
  assert.equal(~crc32c(0xffff_ffff, digits) >>> 0, 0xe306_9283);
  assert.equal(crc16(0, digits), 0xbb3d);
  const bytes = seededRandom(1).bytes(new Uint8Array(1001));
  for (const cut of [0, 1, 7, 8, 500, 1001]) {
    const pieces = crc32c(crc32c(0xffff_ffff, bytes.subarray(0, cut)), bytes.subarray(cut));
    assert.equal(pieces, crc32c(0xffff_ffff, bytes));
  }
});

test('runs of clear bits, against a plain loop', () => {
  const random = seededRandom(2);
  for (let round = 0; round < 300; round += 1) {
    const bitmap = random.bytes(new Uint8Array(1 + random.below(40)));
    for (let i = random.below(4); i > 0; i -= 1)
      bitmap.fill(random.below(2) * 255, random.below(40), random.below(40));
    const bits = random.below(bitmap.length * 8 + 1);
    const clear = new Set<number>();
    for (const { first, end } of clearRuns(bitmap, bits)) {
      assert.ok(end > first && end <= bits && !clear.has(first - 1));
      for (let bit = first; bit < end; bit += 1) clear.add(bit);
    }
    for (let bit = 0; bit < bits; bit += 1) {
      assert.equal(
        clear.has(bit),
        (((bitmap[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 0,
        `round ${round}, bit ${bit}`,
      );
    }
  }
});

test('free ranges become one where they touch, and short ones are left out', () => {
  const free = new FreeRanges(100);
  free.add(0, 60);
  free.add(60, 60);
  free.add(200, 99);
  free.add(300, 100);
  assert.deepEqual(free.list(), [
    { offset: 0, length: 120 },
    { offset: 300, length: 100 },
  ]);
  assert.equal(free.bytes, 319);
});

test('free ranges are never more than a quarter of a million', () => {
  const free = new FreeRanges(1);
  for (let i = 0; i < 300_000; i += 1) free.add(i * 10, 1 + (i % 8));
  const list = free.list();
  assert.ok(list.length <= 2 ** 18 && list.length > 100_000, String(list.length));
  assert.ok(list.every(({ length }) => length >= 2));
});

test('what is in use and called free is found, wherever it lies', () => {
  const free = [
    { offset: 100, length: 100 },
    { offset: 300, length: 100 },
  ];
  assertApart(
    free,
    [
      { offset: 0, length: 100 },
      { offset: 200, length: 100 },
      { offset: 400, length: 5 },
    ],
    'x',
  );
  for (const offset of [50, 100, 150, 199, 299, 300, 350, 399]) {
    const used = [
      { offset: 400, length: 10 },
      { offset, length: 60 },
    ];
    assert.throws(() => assertApart(free, used, 'things'), /things at \d+ are called free/);
  }
  assert.throws(() => assertApart(free, [{ offset: 0, length: 1000 }], 'all'), /called free/);
});

test('a reader stays inside its part, and knows what it has read', async () => {
  const reader = new MetadataReader(memoryDevice(MiB), { offset: 64 * KiB, length: 64 * KiB });
  await reader.read(0, 512);
  await reader.read(512, 512);
  await reader.read(60 * KiB, 4 * KiB);
  await reader.read(256, 512);
  const wanted = [
    { offset: 0, length: 1024 },
    { offset: 60 * KiB, length: 4 * KiB },
  ];
  assert.deepEqual(reader.ranges, wanted);
  for (const [offset, length] of [
    [-1, 2],
    [64 * KiB - 1, 2],
    [Number.NaN, 1],
    [2 ** 60, 1],
  ] as const) {
    await assert.rejects(
      reader.read(offset, length),
      (error) => error instanceof PrimaError && error.code === 'format',
    );
  }
});

test('runs of NTFS: lengths, distances with a sign, holes', () => {
  assert.deepEqual(parseRuns(Buffer.from('211834561130f0010500', 'hex'), 'x'), [
    { cluster: 0x5634, length: 0x18 },
    { cluster: 0x5624, length: 0x30 },
    { length: 5 },
  ]);
  for (const broken of ['2118', '1100f000', '1110f000', '', '711012345678']) {
    assert.throws(() => parseRuns(Buffer.from(broken, 'hex'), 'x'), /run/, broken);
  }
});

test('an update sequence that does not fit is a torn write', () => {
  const page = Buffer.alloc(1024);
  page.write('FILE');
  page.writeUInt16LE(48, 4);
  page.writeUInt16LE(3, 6);
  page.writeUInt16LE(7, 48);
  page.writeUInt16LE(0x1111, 50);
  page.writeUInt16LE(0x2222, 52);
  for (const end of [510, 1022]) page.writeUInt16LE(7, end);
  const whole = applyFixups(Buffer.from(page), 'FILE', 'x');
  assert.deepEqual([whole.readUInt16LE(510), whole.readUInt16LE(1022)], [0x1111, 0x2222]);
  page.writeUInt16LE(8, 1022);
  assert.throws(() => applyFixups(Buffer.from(page), 'FILE', 'x'), /written in part/);
});

test('the record of unmounting is the last, and alone', () => {
  const record = Buffer.alloc(1024);
  record.writeUInt32BE(1, 8);
  record.writeUInt32BE(512, 12);
  record.writeUInt32BE(1, 40);
  record.writeUInt32BE(32_768, 320);
  record.writeUInt8(0xaa, 520);
  record.writeUInt8(0x20, 521);
  assert.equal(isUnmountRecord(record), true);
  assert.equal(isUnmountRecord(Buffer.concat([record, Buffer.alloc(512)])), false, 'something follows');
  for (const [offset, value] of [
    [43, 2],
    [521, 0],
    [520, 1],
    [14, 9],
  ] as const) {
    const changed = Buffer.from(record);
    changed.writeUInt8(value, offset);
    assert.equal(isUnmountRecord(changed), false, `byte ${offset}`);
  }
});

test('a disk without anything, with an unknown thing, with a hibernated system', async () => {
  assert.match((await findFreeSpace(memoryDevice(MiB))).why ?? '', /no partition/);
  const device = memoryDevice(4 * MiB);
  await device.write(
    0,
    bootRecord([
      [0x83, 2048, 2048],
      [0x82, 4096, 2048],
    ]),
  );
  const found = await findFreeSpace(device);
  assert.deepEqual(
    found.parts.map(({ why }) => why),
    ['nothing known is on it', 'nothing known is on it'],
  );
  await device.write(MiB + 1080, Buffer.of(0x53, 0xef));
  assert.match((await findFreeSpace(device)).parts[0]?.why ?? '', /damaged: the superblock has/);
  await device.write(2 * MiB + 4086, Buffer.from('S1SUSPEND'));
  assert.match((await findFreeSpace(device)).why ?? '', /hibernated system is on partition 2/);
});
