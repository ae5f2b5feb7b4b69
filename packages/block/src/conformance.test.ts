/** Every device of this package against the suite. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KiB, MiB, seededRandom } from '@prima/base';
import {
  type BlockDevice,
  concatDevices,
  deviceConformance,
  type DeviceUnderTest,
  faultyDevice,
  memoryDevice,
  openRawFile,
  overlayDevice,
  readAheadDevice,
  readOnlyDevice,
  sliceDevice,
  throttledDevice,
  type WritableDevice,
} from './mod.ts';

const random = seededRandom(1);

/** A device in memory with data and holes, and what it holds. */
async function filled(size = MiB): Promise<{ device: WritableDevice; expected: Uint8Array }> {
  const device = memoryDevice(size);
  const expected = new Uint8Array(size);
  for (let offset = 0; offset < size; offset += 64 * KiB) {
    if (random.below(2) === 0) continue;
    const bytes = random.bytes(new Uint8Array(Math.min(40 * KiB, size - offset)));
    expected.set(bytes, offset);
    await device.write(offset, bytes);
  }
  return { device, expected };
}

function wrapped(wrap: (device: WritableDevice) => BlockDevice): () => Promise<DeviceUnderTest> {
  return async () => {
    const { device, expected } = await filled();
    return { device: wrap(device), expected };
  };
}

async function rawFile(): Promise<DeviceUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-raw-'));
  const device = await openRawFile(join(folder, 'disk'), { create: { size: MiB } });
  return { device, dispose: () => rm(folder, { recursive: true }) };
}

deviceConformance('memory', filled);
deviceConformance('raw file', rawFile);
deviceConformance('read-only', wrapped(readOnlyDevice));
deviceConformance(
  'throttled',
  wrapped((device) => throttledDevice(device, { bytesPerSecond: 1e12 })),
);
deviceConformance(
  'faulty, without faults',
  wrapped((device) => faultyDevice(device, { random })),
);
deviceConformance(
  'dawdling',
  wrapped((device) => faultyDevice(device, { random, delayMs: 1 })),
  { rounds: 10 },
);
deviceConformance(
  'read-ahead',
  wrapped((device) => readAheadDevice(device, { windowBytes: 16 * KiB, depth: 3 })),
);
deviceConformance('slice', async () => {
  const { device, expected } = await filled();
  const range = { offset: 63 * KiB + 100, length: 512 * KiB };
  return {
    device: sliceDevice(device, range),
    expected: expected.subarray(range.offset, range.offset + range.length),
  };
});
deviceConformance('concatenated', async () => {
  const parts = [await filled(100 * KiB + 512), await filled(512), await filled(300 * KiB)];
  return {
    device: concatDevices(parts.map((part) => part.device)),
    expected: Buffer.concat(parts.map((part) => part.expected)),
  };
});
for (const granularity of [512, 64 * KiB]) {
  deviceConformance(`overlay of ${granularity}`, async () => {
    const { device, expected } = await filled(MiB - 512);
    const top = await filled(MiB);
    const slow = faultyDevice(readOnlyDevice(device), { random, delayMs: granularity === 512 ? 0 : 1 });
    return { device: overlayDevice(slow, top.device, { granularity }), expected };
  });
}
