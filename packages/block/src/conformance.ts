/**
 * What every BlockDevice is held to, as tests. A device's test file calls `deviceConformance` with a
 * function that makes the device; random tests print their seed, and PRIMA_SEED repeats one.
 */
import { isZero, type Random, type Range, seededRandom } from '@prima/base';
import type { BlockDevice, Extent, WritableDevice } from './device.ts';
import { collectExtents } from './extents.ts';
import { isWritable } from './filter-device.ts';

export interface DeviceUnderTest {
  /** At least 64 KiB; all of it is read several times, so a few MiB at most. Closed by the suite. */
  device: BlockDevice;
  /** What it holds, `device.size` bytes. Default: zeros. */
  expected?: Uint8Array;
  /** Frees what was made besides the device; called after the device was closed. */
  dispose?: () => Promise<void>;
}

export interface DeviceConformanceOptions {
  /** Rounds of the random test, each of several calls at once. Default 30; fewer for slow devices. */
  rounds?: number;
}

type Check = (context: CheckContext) => Promise<void>;

interface CheckContext {
  device: BlockDevice;
  model: Uint8Array;
  random: Random;
  rounds: number;
}

/** Registers the suite with node:test; `make` is called once for each test. */
export function deviceConformance(
  name: string,
  make: () => Promise<DeviceUnderTest>,
  options: DeviceConformanceOptions = {},
): void {
  const { test } = process.getBuiltinModule('node:test'); // not loaded by who only uses devices
  for (const [title, check] of Object.entries(checks)) {
    test(`${name}: ${title}`, () => runCheck(check, make, options.rounds ?? 30));
  }
}

async function runCheck(check: Check, make: () => Promise<DeviceUnderTest>, rounds: number): Promise<void> {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1_000_000);
  await using resources = new AsyncDisposableStack();
  const { device, expected, dispose } = await make();
  if (dispose) resources.defer(dispose);
  resources.defer(() => device.close());
  const model = Uint8Array.from(expected ?? new Uint8Array(device.size));
  assertThat(model.length === device.size, `expected ${model.length} bytes, the device has ${device.size}`);
  try {
    await check({ device, model, random: seededRandom(seed), rounds });
  } catch (error) {
    throw new Error(`with PRIMA_SEED=${seed}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

const checks: Record<string, Check> = {
  'sizes are what the contract says': async ({ device }) => {
    assertThat(Number.isSafeInteger(device.size) && device.size % 512 === 0, `size ${device.size}`);
    assertThat(device.size >= 65536, `a device of ${device.size} bytes is too small for this suite`);
    const { blockSize } = device;
    assertThat(blockSize >= 512 && Number.isInteger(Math.log2(blockSize)), `block size ${blockSize}`);
  },

  'reads give the expected bytes at any alignment, many at once, into shared memory': async (context) => {
    const { device, random, rounds } = context;
    await assertHolds(device, context.model);
    for (let round = 0; round < rounds; round += 1) {
      const ranges = Array.from({ length: 8 }, () => randomRange(random, device.size));
      await Promise.all(ranges.map((range) => assertReads(context, range, round % 2 === 0)));
    }
    await assertReads(context, { offset: device.size, length: 0 }, false);
    await assertReads(context, { offset: device.size - 1, length: 1 }, true);
  },

  'extents are ascending, gapless, merged, clipped and truthful': async ({
    device,
    model,
    random,
    rounds,
  }) => {
    await assertExtents(device, model, { offset: 0, length: device.size });
    await assertExtents(device, model, { offset: 7, length: 0 });
    for (let round = 0; round < rounds; round += 1) {
      await assertExtents(device, model, randomRange(random, device.size));
    }
    for await (const extent of device.extents({ offset: 0, length: device.size })) {
      assertThat(extent.offset === 0, 'an iteration may be left early');
      break;
    }
  },

  'what was written and zeroed is read, with calls at once beside each other': async (context) => {
    const { device, model, random, rounds } = context;
    if (!isWritable(device)) {
      const writes = device.write !== undefined || device.zero !== undefined;
      assertThat(!writes, 'a read-only device has no writing calls');
      return;
    }
    for (let round = 0; round < rounds; round += 1) {
      const ranges = neighbours(random, device.size);
      await Promise.all(ranges.map((range) => randomCall(device, { ...context, range })));
      if (round % 8 === 7) await assertExtents(device, model, { offset: 0, length: device.size });
    }
    await device.flush();
    await assertHolds(device, model);
    await device.zero({ offset: 0, length: device.size });
    await assertHolds(device, new Uint8Array(device.size));
  },

  'a range outside is a mistake of the caller': async ({ device, model }) => {
    const outside: [number, number][] = [
      [device.size, 1],
      [device.size - 1, 2],
      [-1, 1],
      [0.5, 1],
    ];
    for (const [offset, length] of outside) {
      const bytes = new Uint8Array(length);
      await rejects('internal', 'read', async () => device.read(offset, bytes));
      await rejects('internal', 'extents', async () => collectExtents(device.extents({ offset, length })));
      if (!isWritable(device)) continue;
      await rejects('internal', 'write', async () => device.write(offset, bytes));
      await rejects('internal', 'zero', async () => device.zero({ offset, length }));
    }
    await assertHolds(device, model);
  },

  'an aborted signal cancels a call and leaves the device usable': async ({ device, model }) => {
    const signal = AbortSignal.abort();
    const range = { offset: 0, length: 4096 };
    const bytes = new Uint8Array(4096).fill(0xa5);
    await rejects('cancelled', 'read', async () => device.read(0, bytes, signal));
    await rejects('cancelled', 'extents', async () => collectExtents(device.extents(range, { signal })));
    if (isWritable(device)) {
      await rejects('cancelled', 'write', async () => device.write(0, bytes, signal));
      await rejects('cancelled', 'zero', async () => device.zero(range, signal));
    }
    const later = new AbortController();
    const calls = Array.from({ length: 16 }, (_, index) =>
      device.read(index * 4096, new Uint8Array(4096), later.signal),
    );
    later.abort();
    for (const result of await Promise.allSettled(calls)) {
      const code = result.status === 'rejected' ? codeOf(result.reason) : 'cancelled';
      assertThat(code === 'cancelled', `a read that was cancelled on the way raised ${code}`);
    }
    await assertHolds(device, model);
  },

  'closing twice is no mistake': async ({ device }) => {
    await Promise.all([device.close(), device.close()]);
    await device.close();
  },
};

async function randomCall(device: WritableDevice, context: CheckContext & { range: Range }): Promise<void> {
  const { model, random, range } = context;
  const end = range.offset + range.length;
  const choice = random.below(10);
  if (choice < 5) {
    const bytes = random.bytes(new Uint8Array(range.length));
    if (choice === 0) bytes.fill(0);
    model.set(bytes, range.offset);
    await device.write(range.offset, choice < 3 ? bytes : inSharedMemory(bytes));
  } else if (choice < 7) {
    model.fill(0, range.offset, end);
    await device.zero(range);
  } else {
    await assertReads(context, range, choice === 7);
  }
}

/** Disjoint ranges, many of them touching, some on block boundaries. */
function neighbours(random: Random, size: number): Range[] {
  const cuts = Array.from({ length: 2 + random.below(10) }, () => randomOffset(random, size));
  const sorted = cuts.sort((a, b) => a - b);
  const ranges = sorted.slice(1).map((cut, index) => {
    const offset = sorted[index] ?? 0;
    return { offset, length: cut - offset };
  });
  return ranges.filter(() => random.below(4) > 0);
}

function randomRange(random: Random, size: number): Range {
  const [a, b] = [randomOffset(random, size), randomOffset(random, size)];
  return { offset: Math.min(a, b), length: Math.abs(b - a) };
}

function randomOffset(random: Random, size: number): number {
  const offset = random.below(size + 1);
  const unit = [1, 1, 512, 4096, 65536][random.below(5)] ?? 1;
  return Math.floor(offset / unit) * unit;
}

async function assertReads({ device, model }: CheckContext, range: Range, shared: boolean): Promise<void> {
  const garbage = new Uint8Array(range.length).fill(0xdb);
  const bytes = shared ? inSharedMemory(garbage) : garbage;
  await device.read(range.offset, bytes);
  assertSame(bytes, model.subarray(range.offset, range.offset + range.length), range.offset);
}

async function assertHolds(device: BlockDevice, model: Uint8Array): Promise<void> {
  const bytes = new Uint8Array(device.size).fill(0xdb);
  await device.read(0, bytes);
  assertSame(bytes, model, 0);
}

async function assertExtents(device: BlockDevice, model: Uint8Array, range: Range): Promise<void> {
  const extents = await collectExtents(device.extents(range));
  let position = range.offset;
  let last: Extent | undefined;
  for (const extent of extents) {
    const { offset, length, kind } = extent;
    const where = `extent ${kind} ${offset}+${length}`;
    assertThat(offset === position, `${where} begins where the one before it ends, at ${position}`);
    assertThat(length > 0, `${where} is not empty`);
    assertThat(last?.kind !== kind, `${where} is merged with its neighbour`);
    assertThat(kind === 'data' || kind === 'zero' || kind === 'hole', `${where} has a known kind`);
    if (kind !== 'data') assertThat(isZero(model.subarray(offset, offset + length)), `${where} holds zeros`);
    position += length;
    last = extent;
  }
  const end = range.offset + range.length;
  assertThat(
    position === end,
    `the extents of ${range.offset}+${range.length} end at ${end}, not ${position}`,
  );
}

function assertSame(found: Uint8Array, expected: Uint8Array, offset: number): void {
  if (Buffer.compare(found, expected) === 0) return;
  const at = expected.findIndex((byte, index) => byte !== found[index]);
  throw new Error(`byte ${offset + at} is ${found[at]}, expected ${expected[at]}`);
}

async function rejects(code: string, what: string, call: () => Promise<unknown>): Promise<void> {
  const raised = await call().then(
    () => 'nothing',
    (error: unknown) => codeOf(error),
  );
  assertThat(raised === code, `${what} raises ${code}, not ${raised}`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function inSharedMemory(bytes: Uint8Array): Uint8Array {
  const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

function assertThat(condition: boolean, message: string): void {
  if (!condition) throw new Error(`not so: ${message}`);
}
