/** What the wrapping devices promise beyond the suite. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Clock, KiB, MiB, seededRandom } from '@prima/base';
import {
  type BlockDevice,
  concatDevices,
  type DeviceCall,
  faultyDevice,
  filterDevice,
  isWritable,
  memoryDevice,
  overlayDevice,
  readAheadDevice,
  readOnlyDevice,
  sliceDevice,
  throttledDevice,
} from './mod.ts';

/** `device`, and the calls that reached it. */
function recorded(device: BlockDevice, delayMs = 0): { device: BlockDevice; calls: DeviceCall[] } {
  const calls: DeviceCall[] = [];
  const failAt = (call: DeviceCall) => {
    calls.push(call);
    return false;
  };
  return { device: faultyDevice(device, { random: seededRandom(1), delayMs, failAt }), calls };
}

test('wrappers are writable exactly when what they wrap is', () => {
  const memory = memoryDevice(64 * KiB);
  const readOnly = readOnlyDevice(memory);
  assert.equal(isWritable(readOnly), false);
  assert.equal(isWritable(filterDevice(readOnly, {})), false);
  assert.equal(isWritable(sliceDevice(readOnly, { offset: 0, length: 512 })), false);
  assert.equal(isWritable(concatDevices<BlockDevice>([memory, readOnly])), false);
  assert.equal(isWritable(concatDevices([memory, memory])), true);
  assert.equal(isWritable(readAheadDevice(memory)), true);
});

test('an overlay never writes its base, and copies up one block for many writes into it at once', async () => {
  const base = memoryDevice(MiB);
  await base.write(0, new Uint8Array(MiB).fill(1));
  const { device, calls } = recorded(base, 1);
  const overlay = overlayDevice(device, memoryDevice(MiB));
  const writes = Array.from({ length: 64 }, (_, i) =>
    overlay.write(i * KiB + 100, new Uint8Array(500).fill(2)),
  );
  await Promise.all(writes);
  assert.deepEqual(
    calls.map(({ operation, length }) => [operation, length]),
    [['read', 64 * KiB]],
  );
  await overlay.write(128 * KiB, new Uint8Array(64 * KiB));
  await overlay.zero({ offset: 512 * KiB, length: 512 * KiB });
  assert.equal(calls.length, 1, 'whole blocks are not read from the base');
  const bytes = new Uint8Array(MiB);
  await base.read(0, bytes);
  assert.ok(bytes.every((byte) => byte === 1));
});

test('a copy-up that fails fails its own call only, and the block stays as it was', async () => {
  const base = memoryDevice(MiB);
  const faulty = faultyDevice(base, {
    random: seededRandom(1),
    delayMs: 1,
    failAt: ({ index }) => index === 0,
  });
  const overlay = overlayDevice(faulty, memoryDevice(MiB));
  const results = await Promise.allSettled([
    overlay.write(0, new Uint8Array(10).fill(1)),
    overlay.write(10, new Uint8Array(10).fill(2)),
  ]);
  assert.deepEqual(
    results.map((result) => result.status),
    ['rejected', 'fulfilled'],
  );
  const bytes = new Uint8Array(20);
  await overlay.read(0, bytes);
  assert.deepEqual(bytes, new Uint8Array(20).fill(2, 10));
});

test('read-ahead fetches the windows that a sequential reader wants next, once, and no others', async () => {
  const window = 16 * KiB;
  const { device, calls } = recorded(memoryDevice(MiB));
  const ahead = readAheadDevice(device, { windowBytes: window, depth: 3 });
  const bytes = new Uint8Array(4 * KiB);
  await ahead.read(0, bytes);
  assert.deepEqual(
    calls.map(({ offset, length }) => [offset, length]),
    [0, 1, 2, 3].map((index) => [index * window, window]),
  );
  await ahead.read(512 * KiB, bytes);
  assert.deepEqual(calls.at(-1), { operation: 'read', offset: 512 * KiB, length: 4 * KiB, index: 4 });
  for (let offset = 4 * KiB; offset < MiB; offset += 4 * KiB) await ahead.read(offset, bytes);
  assert.equal(calls.length, MiB / window + 1);
  for (let offset = 256 * KiB; offset < 288 * KiB; offset += 4 * KiB) await ahead.read(offset, bytes);
  assert.ok(calls.length < MiB / window + 1 + 8 + 6, 'a reader that has moved is followed');
  await ahead.close();
});

test('read-ahead gives what was written after it was fetched, and survives a fetch that failed', async () => {
  const memory = memoryDevice(MiB);
  const failAt = ({ index }: DeviceCall) => index === 1;
  const ahead = readAheadDevice(faultyDevice(memory, { random: seededRandom(1), failAt }), {
    windowBytes: 16 * KiB,
  });
  const bytes = new Uint8Array(4 * KiB);
  await ahead.read(0, bytes);
  await ahead.write(16 * KiB, bytes.fill(7));
  await ahead.write(32 * KiB, bytes);
  for (let offset = 4 * KiB; offset < 64 * KiB; offset += 4 * KiB) {
    await ahead.read(offset, bytes);
    const written = offset === 16 * KiB || offset === 32 * KiB;
    assert.deepEqual(bytes, new Uint8Array(4 * KiB).fill(written ? 7 : 0));
  }
  await ahead.close();
});

/** A clock that jumps to the next sleeper when told; sleeps are recorded. */
function jumpingClock(): Clock & { slept: number[]; nowMs: number } {
  const clock = {
    nowMs: 0,
    slept: [] as number[],
    now: () => clock.nowMs,
    monotonic: () => clock.nowMs,
    sleep: async (ms: number) => {
      clock.slept.push(ms);
    },
  };
  return clock;
}

test('a throttled device makes each call wait until what came before it is paid', async () => {
  const clock = jumpingClock();
  const device = throttledDevice(memoryDevice(MiB), { bytesPerSecond: 100_000, clock });
  const bytes = new Uint8Array(10_000);
  await device.read(0, bytes); // the burst
  await Promise.all([device.read(0, bytes), device.write(0, bytes), device.read(0, bytes)]);
  assert.deepEqual(clock.slept.splice(0), [100, 200, 300]);
  clock.nowMs = 250;
  await device.read(0, bytes);
  assert.deepEqual(clock.slept.splice(0), [150]);
  clock.nowMs = 10_000; // idle time brings no more than the burst
  await device.read(0, bytes);
  await device.read(0, bytes);
  assert.deepEqual(clock.slept.splice(0), [100]);
});

test('a wait for bandwidth can be cancelled, and gives its share back', async () => {
  const device = throttledDevice(memoryDevice(MiB), { bytesPerSecond: 1 });
  const abort = new AbortController();
  const waiting = device.read(0, new Uint8Array(1000), abort.signal);
  abort.abort();
  await assert.rejects(waiting, { code: 'cancelled' });
  await device.read(0, new Uint8Array(0));
});

test('a faulty device fails as often as it is told, the same for the same seed', async () => {
  const outcomes = async (seed: number) => {
    const device = faultyDevice(memoryDevice(MiB), { random: seededRandom(seed), errorRate: 0.25 });
    const calls = Array.from({ length: 400 }, (_, index) => device.read(index, new Uint8Array(1)));
    return (await Promise.allSettled(calls)).map((result) => result.status);
  };
  const first = await outcomes(3);
  const failed = first.filter((status) => status === 'rejected').length;
  assert.ok(failed > 60 && failed < 140, `${failed} of 400 failed`);
  assert.deepEqual(await outcomes(3), first);
});
