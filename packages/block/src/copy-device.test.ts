import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import {
  collectExtents,
  compareDevices,
  copyDevice,
  faultyDevice,
  memoryDevice,
  type WritableDevice,
} from './mod.ts';

const seed = Date.now() % 1_000_000;

/** A disk with data, written zeros and holes, and one full of garbage. */
async function twoDisks(size: number): Promise<{ source: WritableDevice; target: WritableDevice }> {
  const random = seededRandom(seed);
  const source = memoryDevice(size);
  const target = memoryDevice(size);
  await target.write(0, new Uint8Array(size).fill(0xee));
  for (let i = 0; i < 40; i += 1) {
    const offset = random.below(size - 200 * KiB);
    const bytes = new Uint8Array(random.below(200 * KiB));
    await source.write(offset, i % 3 ? random.bytes(bytes) : bytes);
  }
  return { source, target };
}

test('a copy is the same disk, over garbage and over nothing, whole and in part', async () => {
  const { source, target } = await twoDisks(4 * MiB + 512);
  const dawdling = faultyDevice(source, { random: seededRandom(seed), delayMs: 2 });
  const seen: number[] = [];
  await copyDevice(dawdling, target, {
    blockBytes: 100_000,
    onProgress: ({ done }) => seen.push(done),
  });
  assert.deepEqual(await compareDevices(source, target), { differences: [], complete: true }, `seed ${seed}`);
  assert.equal(seen.at(-1), source.size);

  const fresh = memoryDevice(source.size);
  const zero = () => assert.fail('zeros of a target that is zero need no call');
  const result = await copyDevice(source, { ...forwarded(fresh), zero }, { targetIsZero: true });
  assert.deepEqual(await compareDevices(source, fresh), { differences: [], complete: true }, `seed ${seed}`);
  assert.ok(result.written <= result.read && result.read < source.size, JSON.stringify(result));

  const part = memoryDevice(source.size);
  const range = { offset: 100_001, length: 1_000_001 };
  await copyDevice(source, part, { range, skipZeros: false });
  const bytes = new Uint8Array(range.length);
  const copied = new Uint8Array(range.length);
  await source.read(range.offset, bytes);
  await part.read(range.offset, copied);
  assert.deepEqual(copied, bytes);
  await part.zero(range);
  assert.ok((await collectExtents(part.extents({ offset: 0, length: part.size }))).length <= 5);
});

test('zeros that were read are not written', async () => {
  const source = memoryDevice(2 * MiB);
  await source.write(0, new Uint8Array(2 * MiB)); // data, as far as the device can tell
  await source.write(200 * KiB, new Uint8Array([1]));
  await source.write(MiB - 1, new Uint8Array([1, 1]));
  const target = memoryDevice(2 * MiB);
  assert.deepEqual(await copyDevice(source, target), { read: 2 * MiB, written: 3 * 64 * KiB });
  assert.deepEqual(await copyDevice(source, target, { skipZeros: false }), {
    read: 2 * MiB,
    written: 2 * MiB,
  });
});

test('a copy holds no more than its buffers, and ends with the first failure or when it is cancelled', async () => {
  const source = memoryDevice(16 * MiB);
  await source.write(0, new Uint8Array(16 * MiB).fill(1));
  const target = memoryDevice(16 * MiB);
  let reading = 0;
  let most = 0;
  const watched: WritableDevice = {
    ...forwarded(source),
    read: async (offset, into) => {
      reading += 1;
      most = Math.max(most, reading);
      await new Promise((resolve) => setImmediate(resolve));
      await source.read(offset, into);
      reading -= 1;
    },
  };
  await copyDevice(watched, target, { concurrency: 3 });
  assert.equal(most, 3);
  const random = seededRandom(seed);
  const failing = faultyDevice(target, { random, failAt: (call) => call.offset === 8 * MiB });
  await assert.rejects(copyDevice(source, failing), { code: 'io' });
  const abort = new AbortController();
  const cancelled = copyDevice(watched, target, { signal: abort.signal, onProgress: () => abort.abort() });
  await assert.rejects(cancelled, { code: 'cancelled' });
  assert.equal(reading, 0, 'nothing goes on afterwards');
});

test('a comparison finds exactly the sectors that differ', async () => {
  const { source } = await twoDisks(3 * MiB);
  const other = memoryDevice(source.size + 1024);
  await copyDevice(source, other);
  const changed = [5, 6, 100, 2047, 2048, 5000];
  for (const sector of changed) {
    const byte = new Uint8Array(1);
    await source.read(sector * 512 + 17, byte);
    await other.write(sector * 512 + 17, new Uint8Array([~(byte[0] ?? 0)]));
  }
  const expected = [
    { offset: 5 * 512, length: 1024 },
    { offset: 100 * 512, length: 512 },
    { offset: 2047 * 512, length: 1024 },
    { offset: 5000 * 512, length: 512 },
    { offset: 3 * MiB, length: 1024 },
  ];
  assert.deepEqual(
    await compareDevices(source, other),
    { differences: expected, complete: true },
    `seed ${seed}`,
  );
  const some = await compareDevices(other, source, { limit: 2 });
  assert.deepEqual(some, { differences: expected.slice(0, 2), complete: false });
  await assert.rejects(compareDevices(source, other, { signal: AbortSignal.abort() }), { code: 'cancelled' });
});

function forwarded(device: WritableDevice): WritableDevice {
  return {
    size: device.size,
    blockSize: device.blockSize,
    extents: (range, options) => device.extents(range, options),
    read: (offset, into, signal) => device.read(offset, into, signal),
    write: (offset, from, signal) => device.write(offset, from, signal),
    zero: (range, signal) => device.zero(range, signal),
    flush: () => device.flush(),
    close: () => device.close(),
  };
}
