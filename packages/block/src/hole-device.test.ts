import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import { deviceConformance } from './conformance.ts';
import { collectExtents } from './extents.ts';
import { filterDevice, isWritable } from './filter-device.ts';
import { holeDevice } from './hole-device.ts';
import { memoryDevice } from './memory-device.ts';
import { readOnlyDevice } from './read-only-device.ts';

async function filled(size: number) {
  const device = memoryDevice(size);
  const bytes = seededRandom(5).bytes(new Uint8Array(size));
  await device.write(0, bytes);
  return { device, bytes };
}

deviceConformance('a device with holes', async () => {
  const { device, bytes } = await filled(MiB);
  await device.zero({ offset: 700 * KiB, length: 100 * KiB });
  bytes.fill(0, 700 * KiB, 800 * KiB);
  const holes = [
    { offset: 0, length: 512 },
    { offset: 100_000, length: 1 },
    { offset: 100_001, length: 50_000 },
    { offset: 650 * KiB, length: 100 * KiB },
    { offset: MiB - 4096, length: 4096 },
  ];
  for (const { offset, length } of holes) bytes.fill(0, offset, offset + length);
  return { device: holeDevice(device, holes), expected: bytes };
});

test('a read that is all hole does not reach the device', async () => {
  const { device } = await filled(64 * KiB);
  let reads = 0;
  const counted = filterDevice(readOnlyDevice(device), {
    read: async (offset, into) => {
      reads += 1;
      await device.read(offset, into);
    },
  });
  const holed = holeDevice(counted, [{ offset: 4096, length: 8192 }]);
  await holed.read(5000, new Uint8Array(4000));
  assert.equal(reads, 0);
  await holed.read(0, new Uint8Array(64 * KiB));
  assert.equal(reads, 1);
  assert.deepEqual(await collectExtents(holed.extents({ offset: 0, length: 16 * KiB })), [
    { offset: 0, length: 4096, kind: 'data' },
    { offset: 4096, length: 8192, kind: 'hole' },
    { offset: 12_288, length: 4096, kind: 'data' },
  ]);
  assert.equal(isWritable(holed), false);
});

test('holes that overlap or leave the device are a mistake', () => {
  const device = memoryDevice(64 * KiB);
  const holes = [
    { offset: 0, length: 1024 },
    { offset: 1000, length: 10 },
  ];
  assert.throws(() => holeDevice(device, holes), /do not overlap/);
  assert.throws(() => holeDevice(device, [{ offset: 65_000, length: 1024 }]), /lies within/);
});
