/** Every form of a stream is read alike; every damage is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { isZero, seededRandom, systemClock } from '@prima/base';
import { memoryDevice } from '@prima/block';
import { copyVmdkStream, readGrains } from './stream-copy.ts';
import {
  type Fixture,
  fixtureForms,
  type FixtureGrain,
  grainBytes,
  grainSectors,
  makeStream,
  noise,
  packed,
  packedRaw,
} from './stream-fixture.ts';
import { markerType, writeMarker } from './stream-markers.ts';
import { openVmdkStream } from './stream-reader.ts';

const capacity = 13 * grainSectors + 5;
/** The last grain of the disk is cut off by its end; some tables are empty. */
const numbers = [0, 1, 3, 5, 12, 13];
const grains: FixtureGrain[] = numbers.map((number) => ({ number, plain: noise(number) }));
const whole: Fixture = { form: 'full', capacity, grains };

async function* inPieces(bytes: Uint8Array, length = bytes.length): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

const options = { name: 'x.vmdk' };

/** The disk of a stream, read on no thread. */
async function diskOf(bytes: Uint8Array, pieceBytes?: number): Promise<Buffer> {
  const stream = await openVmdkStream(inPieces(bytes, pieceBytes), options);
  const disk = Buffer.alloc(stream.size);
  for await (const grain of readGrains(stream, { workers: 0 })) disk.set(grain.bytes, grain.offset);
  return disk;
}

const expected = Buffer.alloc(capacity * 512);
for (const { number, plain } of grains) {
  expected.set(plain.subarray(0, expected.length - number * grainBytes), number * grainBytes);
}

for (const form of fixtureForms) {
  test(`form "${form}": in one piece, byte by byte, and with something behind its end`, async () => {
    const bytes = makeStream({ ...whole, form });
    for (const pieceBytes of [bytes.length, 1, 511, 512, 4097]) {
      assert.ok((await diskOf(bytes, pieceBytes)).equals(expected), `pieces of ${pieceBytes}`);
    }
    const trailed = Buffer.concat([
      bytes,
      Buffer.alloc(form === 'front' ? 512 : 700, form === 'front' ? 0 : 1),
    ]);
    assert.ok((await diskOf(trailed)).equals(expected), 'what is behind the end does not matter');
  });

  test(`form "${form}": cut off anywhere, it says so`, async () => {
    const bytes = makeStream({ ...whole, form });
    // padding may be missing, and the end where tables show that every grain is there
    const padding = 512 - ((12 + (await lastGrain(bytes)).length) % 512);
    const behind = { full: 496, bare: 496, front: padding, end: 512 + padding }[form];
    const needed = bytes.length - behind;
    for (let length = 0; length < needed; length += length < 1024 ? 51 : 97) {
      await assert.rejects(diskOf(bytes.subarray(0, length)), {
        code: 'format',
        message: /ends (in the middle of|after)/,
      });
    }
    assert.ok((await diskOf(bytes.subarray(0, needed))).equals(expected), 'what is behind may be missing');
  });
}

/** Its data. */
async function lastGrain(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = await openVmdkStream(inPieces(bytes), options);
  let last = new Uint8Array();
  for await (const { data } of stream.grains()) last = Uint8Array.from(data);
  return last;
}

test('grains come in order, with their places in the stream; the descriptor comes as it is', async () => {
  const stream = await openVmdkStream(inPieces(makeStream({ ...whole, descriptor: '# hello' })), options);
  assert.equal(Buffer.from(stream.descriptor ?? []).toString(), '# hello');
  assert.equal(stream.size, capacity * 512);
  const found: number[] = [];
  let last = 0;
  for await (const { offset, at } of stream.grains()) {
    assert.ok(at > last && at % 512 === 0);
    last = at;
    found.push(offset / grainBytes);
  }
  assert.deepEqual(found, numbers);
});

test('a descriptor of zeros is none', async () => {
  const stream = await openVmdkStream(inPieces(makeStream({ ...whole, descriptor: '' })), options);
  assert.equal(stream.descriptor, undefined);
  await stream.close();
});

/** A fixture with one grain made wrong. */
function withGrain(index: number, change: (grain: FixtureGrain) => Partial<FixtureGrain>): Fixture {
  return {
    ...whole,
    grains: grains.map((grain, i) => (i === index ? { ...grain, ...change(grain) } : grain)),
  };
}

const broken: [string, Fixture, RegExp][] = [
  ['a grain twice', withGrain(1, () => ({ lba: 0 })), /is for sector 0, as the one before it/],
  [
    'a descending grain',
    withGrain(3, () => ({ lba: grainSectors })),
    /is for sector 16, behind the one for sector 48/,
  ],
  [
    'a grain beyond the disk',
    withGrain(5, () => ({ lba: 14 * grainSectors })),
    /is for sector 224 of a disk of 213/,
  ],
  [
    'a grain between two',
    withGrain(2, (grain) => ({ lba: grain.number * grainSectors + 1 })),
    /no multiple of 16/,
  ],
  [
    'a bomb',
    withGrain(2, () => ({ data: packed(Buffer.alloc(64 * grainBytes)) })),
    /holds more than the 8192 bytes/,
  ],
  [
    'a short grain',
    withGrain(2, () => ({ data: packed(Buffer.alloc(100, 1)) })),
    /holds 100 bytes where 8192/,
  ],
  ['a short last grain', withGrain(5, () => ({ data: packed(Buffer.alloc(100, 1)) })), /holds 100 bytes/],
  ['raw deflate', withGrain(0, (grain) => ({ data: packedRaw(grain.plain) })), /no zlib header \(RFC 1950\)/],
  [
    'a wrong check sum',
    withGrain(4, ({ plain }) => {
      const data = packed(plain);
      data[data.length - 1] = (data.at(-1) ?? 0) ^ 1;
      return { data };
    }),
    /the grain at byte \d+ does not decompress: incorrect data check/,
  ],
  [
    'data that ends early',
    withGrain(4, ({ plain }) => ({ data: packed(plain).subarray(0, 40) })),
    /does not decompress/,
  ],
  [
    'a grain of too many bytes',
    withGrain(2, () => ({ size: 20_000 })),
    /has 20000 bytes of data, where 17408 is the most/,
  ],
  [
    'a table with a grain that is not there',
    { ...whole, changeTable: (entries, table) => table === 1 && (entries[2] = (entries[1] ?? 0) + 1) },
    /names a grain at byte \d+ as its number 2, where no grain is/,
  ],
  [
    'a table with its entries swapped',
    { ...whole, changeTable: (entries, table) => table === 0 && entries.reverse() },
    /where the grain \d of the disk is/,
  ],
  [
    'a grain that says another place',
    withGrain(3, () => ({ lba: 6 * grainSectors })),
    /where the grain 6 of the disk is/,
  ],
  [
    'tables in front that name a grain more',
    { ...whole, form: 'front', changeTable: (entries, table) => table === 2 && (entries[0] = 90) },
    /ends after 6 grains, where its tables name 7/,
  ],
  ['an unknown marker', { ...whole, extra: [writeMarker(9 as 4, 0)] }, /a marker of type 9/],
  [
    'a marker that jumps',
    { ...whole, extra: [writeMarker(markerType.progress, 1e6)] },
    /has 1000000 sectors/,
  ],
  [
    'markers without end',
    { ...whole, extra: Array.from({ length: 2000 }, () => writeMarker(markerType.progress, 0)) },
    /marker without a grain is too many/,
  ],
  ['no markers', { ...whole, header: { flags: 0x10001 } }, /no streamOptimized VMDK/],
  ['grains too small', { ...whole, header: { grainSize: 8 } }, /grainSize is 8 sectors/],
  ['grains too large', { ...whole, header: { grainSize: 16_384 } }, /grainSize is 16384 sectors/],
  ['too much in front', { ...whole, header: { overHead: 1e9 } }, /overHead is 1000000000 sectors/],
  ['too many tables', { ...whole, header: { capacity: 2 ** 40 } }, /grain tables; \d+ can be read/],
];

for (const [what, fixture, message] of broken) {
  test(`refused: ${what}`, async () => {
    await assert.rejects(diskOf(makeStream(fixture)), { code: 'format', message });
  });
}

test('what cannot be compressed may be larger than a grain', async () => {
  const plain = seededRandom(1).bytes(new Uint8Array(grainBytes));
  const data = deflateSync(plain, { level: 0 });
  assert.ok(data.length > grainBytes);
  const disk = await diskOf(makeStream({ ...whole, grains: [{ number: 2, plain, data }] }));
  assert.ok(disk.subarray(2 * grainBytes, 3 * grainBytes).equals(plain));
});

test('a stream goes onto a device, where zeros were not and where they were', async () => {
  const zeros = { number: 6, plain: new Uint8Array(grainBytes) };
  const bytes = makeStream({ ...whole, grains: [...grains.slice(0, 4), zeros, ...grains.slice(4)] });
  for (const workers of [0, 2]) {
    for (const targetIsZero of [false, true]) {
      const target = memoryDevice(expected.length + 512);
      if (!targetIsZero) await target.write(0, Buffer.alloc(expected.length, 0xee));
      const stream = await openVmdkStream(inPieces(bytes, 5000), options);
      const { written } = await copyVmdkStream(stream, target, { workers, targetIsZero });
      const found = Buffer.alloc(expected.length);
      await target.read(0, found);
      assert.ok(found.equals(expected), `${workers} threads, target is zero: ${targetIsZero}`);
      assert.equal(written, 5 * grainBytes + 5 * 512, 'zeros are not written');
    }
  }
  const stream = await openVmdkStream(inPieces(bytes), options);
  await assert.rejects(copyVmdkStream(stream, memoryDevice(512)), { code: 'usage' });
});

test('cancelled while its source is stuck, it ends', async () => {
  const controller = new AbortController();
  const bytes = makeStream(whole);
  async function* stuck(): AsyncGenerator<Uint8Array> {
    yield bytes.subarray(0, 5000);
    await new Promise(() => undefined);
  }
  const stream = await openVmdkStream(stuck(), { ...options, signal: controller.signal });
  const copying = copyVmdkStream(stream, memoryDevice(stream.size), { signal: controller.signal });
  await systemClock.sleep(10);
  controller.abort();
  await assert.rejects(copying, { code: 'cancelled' });
});

test('the source is told when no more is wanted, whatever the reason', async () => {
  const bytes = makeStream(whole);
  let closed = 0;
  async function* watched(pieces: Uint8Array): AsyncGenerator<Uint8Array> {
    try {
      yield* inPieces(pieces, 512);
    } finally {
      closed += 1;
    }
  }
  const open = (pieces: Uint8Array) => openVmdkStream(watched(pieces), options);
  await assert.rejects(open(bytes.subarray(1)), { code: 'format' });
  assert.equal(closed, 1, 'it is no VMDK');
  for await (const grain of readGrains(await open(bytes), { workers: 0 })) {
    assert.equal(isZero(grain.bytes), false);
    break;
  }
  assert.equal(closed, 2, 'its reader leaves');
  const failing = { ...memoryDevice(capacity * 512), size: capacity * 512 };
  failing.write = () => Promise.reject(new Error('the device fails'));
  failing.zero = async () => undefined;
  await assert.rejects(copyVmdkStream(await open(bytes), failing, { workers: 0 }), /the device fails/);
  assert.equal(closed, 3, 'its target fails');
  for await (const grain of (await open(Buffer.concat([bytes, Buffer.alloc(5000)]))).grains()) {
    assert.ok(grain.at > 0);
  }
  assert.equal(closed, 4, 'it has come to its end');
});
