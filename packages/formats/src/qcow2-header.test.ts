import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, seededRandom } from '@prima/base';
import { parseQcow2Header } from './qcow2-header.ts';

/** Version 3, 1 MiB, backing file "base.img" of format raw, an external data file "d.raw". */
function example(): Buffer {
  const bytes = Buffer.alloc(1024);
  bytes.write('QFI\xfb', 0, 'latin1');
  bytes.writeUInt32BE(3, 4);
  bytes.writeBigUInt64BE(512n, 8);
  bytes.writeUInt32BE(8, 16);
  bytes.writeBigUInt64BE(1024n * 1024n, 24);
  bytes.writeBigUInt64BE(4n, 72);
  bytes.writeUInt32BE(104, 100);
  bytes.writeUInt32BE(0xe2792aca, 104);
  bytes.writeUInt32BE(3, 108);
  bytes.write('raw', 112);
  bytes.writeUInt32BE(0x44415441, 120);
  bytes.writeUInt32BE(5, 124);
  bytes.write('d.raw', 128);
  bytes.write('base.img', 512);
  return bytes;
}

test('a header that names other files', () => {
  assert.deepEqual(parseQcow2Header(example()), {
    version: 3,
    size: 1024 * 1024,
    backingFile: 'base.img',
    backingFormat: 'raw',
    hasDataFile: true,
    dataFile: 'd.raw',
  });
});

test('version 2 has no features and its extensions at 72', () => {
  const bytes = example();
  bytes.writeUInt32BE(2, 4);
  bytes.fill(0, 72, 136);
  const header = parseQcow2Header(bytes);
  assert.equal(header.version, 2);
  assert.equal(header.hasDataFile, false);
  assert.equal(header.backingFormat, undefined);
});

test('damaged headers raise a format error with the offset', () => {
  const damages: [(bytes: Buffer) => void, number][] = [
    [(bytes) => bytes.writeUInt32BE(9, 4), 4],
    [(bytes) => bytes.writeUInt32BE(5000, 16), 16],
    [(bytes) => bytes.writeBigUInt64BE(1n << 60n, 8), 8],
    [(bytes) => bytes.writeBigUInt64BE(1020n, 8), 1020],
    [(bytes) => bytes.writeUInt32BE(99_999, 100), 100],
    [(bytes) => bytes.writeUInt32BE(0xffffffff, 108), 112],
  ];
  for (const [damage, offset] of damages) {
    const bytes = example();
    damage(bytes);
    assert.throws(
      () => parseQcow2Header(bytes),
      (error) => error instanceof FormatError && error.details.offset === offset,
    );
  }
});

test('random damage raises nothing else', () => {
  const seed = Number(process.env.PRIMA_TEST_SEED ?? Date.now() % 2 ** 32);
  const random = seededRandom(seed);
  for (let round = 0; round < 5000; round += 1) {
    const bytes = example().subarray(0, random.below(2) === 0 ? 1024 : random.below(1024));
    for (let hits = random.below(8); hits > 0 && bytes.length > 0; hits -= 1) {
      bytes[random.below(Math.min(bytes.length, 140))] = random.below(256);
    }
    try {
      parseQcow2Header(bytes);
    } catch (error) {
      assert.ok(error instanceof FormatError, `seed ${seed}, round ${round}: ${String(error)}`);
    }
  }
});
