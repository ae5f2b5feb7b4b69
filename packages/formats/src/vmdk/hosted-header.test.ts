import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError, PrimaError, seededRandom } from '@prima/base';
import { type HostedHeader, isHostedHeader, parseHostedHeader, writeHostedHeader } from './hosted-header.ts';

/** qemu-img create -f vmdk a.vmdk 5G */
const reference: HostedHeader = {
  version: 1,
  flags: 3,
  capacity: 10_485_760,
  grainSize: 128,
  descriptorOffset: 1,
  descriptorSize: 20,
  numGTEsPerGT: 512,
  rgdOffset: 21,
  gdOffset: 663,
  overHead: 1408,
  uncleanShutdown: false,
  compressAlgorithm: 0,
};

test('written and read back; the footer’s form too', () => {
  const bytes = writeHostedHeader(reference);
  assert.equal(bytes.length, 512);
  assert.ok(isHostedHeader(bytes));
  assert.deepEqual(parseHostedHeader(bytes, 'a'), reference);
  const { gdOffset: _, ...rest } = reference;
  const stream: HostedHeader = {
    ...rest,
    version: 3,
    flags: 0x30001,
    compressAlgorithm: 1,
    uncleanShutdown: true,
  };
  assert.deepEqual(parseHostedHeader(writeHostedHeader(stream), 'a'), stream);
  assert.equal(writeHostedHeader(stream).readBigUInt64LE(56), 0xffffffffffffffffn);
});

test('damage raises a format error with the offset in the file', () => {
  const damages: [(bytes: Buffer) => void, number][] = [
    [(bytes) => bytes.write('COWD'), 0],
    [(bytes) => bytes.writeBigUInt64LE(1n << 60n, 12), 12],
    [(bytes) => bytes.writeBigUInt64LE(0n, 20), 20],
    [(bytes) => bytes.writeBigUInt64LE(100n, 20), 20],
    [(bytes) => bytes.writeBigUInt64LE(65_536n, 20), 20],
    [(bytes) => bytes.writeUInt32LE(0, 44), 44],
    [(bytes) => bytes.writeUInt32LE(0xffffffff, 44), 44],
    [(bytes) => bytes.writeBigUInt64LE(0xfffffffffffffffen, 56), 56],
    [(bytes) => bytes.write('\n \n\n', 73), 73],
    [(bytes) => bytes.writeUInt32LE(0x10003, 8), 77],
  ];
  for (const [damage, offset] of damages) {
    const bytes = writeHostedHeader(reference);
    damage(bytes);
    assert.throws(
      () => parseHostedHeader(bytes, 'a', 1024),
      (error) => error instanceof FormatError && error.details.offset === 1024 + offset,
      `offset ${offset}`,
    );
  }
  assert.throws(() => parseHostedHeader(new Uint8Array(100), 'a'), FormatError);
  const newer = writeHostedHeader({ ...reference, version: 4 });
  assert.throws(
    () => parseHostedHeader(newer, 'a'),
    (error) => error instanceof PrimaError && error.code === 'unsupported',
  );
});

test('random damage raises nothing else', () => {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  for (let round = 0; round < 3000; round += 1) {
    const bytes = writeHostedHeader(reference);
    for (let hits = random.below(6); hits >= 0; hits -= 1) bytes[random.below(79)] = random.below(256);
    try {
      parseHostedHeader(bytes, 'a');
    } catch (error) {
      assert.ok(
        error instanceof PrimaError && error.code !== 'internal',
        `PRIMA_SEED=${seed}: ${String(error)}`,
      );
    }
  }
});
