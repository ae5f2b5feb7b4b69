/** Damaged partition tables: every parser refuses them with an error of its own, or reads something within bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignUp, MiB } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { answerOf, fuzzRun, mutate } from '@prima/testbed';
import { parseGptEntries, parseGptHeader } from './gpt.ts';
import { parseMbr } from './mbr.ts';
import { readPartitions } from './read-partitions.ts';
import { findSignatures } from './signatures.ts';
import { bootRecord, gptDisk, gptEntries, gptHeader } from './tables-fixture.ts';

const record = bootRecord([
  [0x83, 64, 64],
  [0x05, 128, 4096],
  [0xee, 1, 1],
]);
const entries = gptEntries([[2048, 4095, 'one']]);
const header = gptHeader(entries, { own: 1, other: 8191, entriesAt: 2, sectors: 8192, sectorSize: 512 });

test('boot records and GPTs', async () => {
  const { seed, rounds, random } = fuzzRun(4000);
  for (let round = 0; round < rounds; round += 1) {
    const where = `seed ${seed}, round ${round}`;
    const mbr = await answerOf(() => parseMbr(mutate(random, record, [header])), where);
    assert.ok((mbr?.entries.length ?? 0) <= 4, where);
    const changed = mutate(random, header, [record]);
    const found = await answerOf(() => parseGptHeader(changed, 1), where);
    if (found) assert.deepEqual(parseGptHeader(header, 1), found, `${where}: a changed header was accepted`);
    const whole = parseGptHeader(header, 1);
    const list = await answerOf(() => parseGptEntries(mutate(random, entries), whole), where);
    if (list) assert.deepEqual(list, parseGptEntries(entries, whole), where);
  }
});

test('signatures: whatever the bytes are, nothing is raised', () => {
  const { seed, rounds, random } = fuzzRun(300);
  const marks = [
    'XFSB',
    'NTFS    ',
    'LUKS\xba\xbe',
    'LABELONE',
    '\x53\xef',
    'SWAPSPACE2',
    '_BHRfS_M',
    'NXSB',
  ];
  for (let round = 0; round < rounds; round += 1) {
    const bytes = Buffer.from(random.bytes(new Uint8Array(random.below(70_000))));
    for (const offset of [0, 3, 32, 512, 1024, 1080, 4086, 65600]) {
      bytes.write(marks[random.below(marks.length)] ?? '', Math.min(offset, bytes.length), 'latin1');
    }
    const found = findSignatures([{ offset: 0, bytes }], bytes.length);
    assert.ok(
      found.every(({ kind }) => kind !== ''),
      `seed ${seed}, round ${round}`,
    );
  }
});

test('whole disks: partitions are where they can be, or it is said', async () => {
  const { seed, rounds, random } = fuzzRun(300);
  const device = await gptDisk();
  const whole = Buffer.alloc(device.size);
  await device.read(0, whole);
  const head = whole.subarray(0, 20_000);
  for (let round = 0; round < rounds; round += 1) {
    const changed = mutate(
      random,
      random.below(3) === 0 ? Buffer.concat([record, head.subarray(512)]) : head,
    );
    const disk = memoryDevice(random.below(4) === 0 ? alignUp(changed.length, 512) : 4 * MiB);
    await disk.write(0, changed.subarray(0, disk.size));
    const where = `seed ${seed}, round ${round}`;
    const table = await answerOf(() => readPartitions(disk), where);
    assert.ok(table, where);
    if (table.intact) {
      for (const { offset, length } of table.partitions)
        assert.ok(offset >= 0 && offset + length <= disk.size, where);
    }
  }
});
