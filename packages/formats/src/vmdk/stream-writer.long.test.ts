/** What is written is read back alike, tells the same by its tables, and stops when nobody wants it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GiB, KiB, MiB, PrimaError, seededRandom, systemClock } from '@prima/base';
import { type BlockDevice, filterDevice, memoryDevice, type WritableDevice } from '@prima/block';
import { parseDescriptor } from './descriptor.ts';
import { parseHostedHeader } from './hosted-header.ts';
import { inflateGrain } from './stream-codec.ts';
import { copyVmdkStream } from './stream-copy.ts';
import { openVmdkStream } from './stream-reader.ts';
import { type StreamWriteOptions, writeVmdkStream } from './stream-writer.ts';

const grainBytes = 64 * KiB;
const options = { name: 'x.vmdk' };

async function bytesOf(source: BlockDevice, how: StreamWriteOptions = {}): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  const writing = writeVmdkStream(source, how);
  for (let step = await writing.next(); ; step = await writing.next()) {
    if (step.done === true) {
      const bytes = Buffer.concat(pieces);
      assert.equal(step.value.written, bytes.length);
      return bytes;
    }
    pieces.push(step.value);
  }
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}

/** Data in several tables' reach, grains of zeros that were written, an odd number of sectors. */
async function sample(seed: number, size = 40 * MiB + 7 * 512): Promise<WritableDevice> {
  const device = memoryDevice(size);
  const random = seededRandom(seed);
  for (let index = 0; index < 12; index += 1) {
    const length = 1 + random.below(150_000);
    const bytes = new Uint8Array(length).fill(random.below(3));
    await device.write(random.below(size - length), index % 2 ? bytes : random.bytes(bytes));
  }
  await device.write(size - 512, random.bytes(new Uint8Array(512)));
  return device;
}

async function assertSame(a: BlockDevice, b: BlockDevice, where: string): Promise<void> {
  assert.equal(a.size, b.size, where);
  for (let offset = 0; offset < a.size; offset += MiB) {
    const left = Buffer.alloc(Math.min(MiB, a.size - offset));
    const right = Buffer.alloc(left.length);
    await Promise.all([a.read(offset, left), b.read(offset, right)]);
    assert.ok(left.equals(right), `${where}: the megabyte at ${offset} is the same`);
  }
}

for (const workers of [0, 1, 2]) {
  test(`written and read back, ${workers} threads`, async () => {
    const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
    for (let round = 0; round < 2; round += 1) {
      const where = `seed ${seed}, round ${round}`;
      const source = await sample(seed + round);
      const bytes = await bytesOf(source, { workers, level: 1 + 8 * round });
      const stream = await openVmdkStream(inPieces(bytes), options);
      const target = memoryDevice(stream.size);
      await copyVmdkStream(stream, target, { workers, targetIsZero: round === 0 });
      await assertSame(source, target, where);
    }
  });
}

test('the tables lead to every grain that is not zeros, in ascending order', async () => {
  const source = await sample(3);
  const bytes = await bytesOf(source);
  assert.equal(parseHostedHeader(bytes, 'x').gdOffset, undefined);
  const footer = parseHostedHeader(bytes.subarray(-1024), 'x');
  const { gdOffset = 0, capacity } = footer;
  assert.equal(capacity * 512, source.size);
  assert.ok(
    bytes.subarray(-512).every((byte) => byte === 0),
    'end of stream',
  );
  let last = 0;
  const plain = Buffer.alloc(grainBytes);
  for (let grain = 0; grain * grainBytes < source.size; grain += 1) {
    const table = bytes.readUInt32LE(gdOffset * 512 + Math.floor(grain / 512) * 4);
    const at = table === 0 ? 0 : bytes.readUInt32LE(table * 512 + (grain % 512) * 4) * 512;
    plain.fill(0);
    const covered = Math.min(grainBytes, source.size - grain * grainBytes);
    await source.read(grain * grainBytes, plain.subarray(0, covered));
    assert.equal(
      at === 0,
      plain.every((byte) => byte === 0),
      `grain ${grain} is there when it is not zeros`,
    );
    if (at === 0) continue;
    assert.ok(at > last, `grain ${grain} comes behind the one before`);
    last = at;
    assert.equal(Number(bytes.readBigUInt64LE(at)), grain * 128);
    const data = bytes.subarray(at + 12, at + 12 + bytes.readUInt32LE(at + 8));
    const found = inflateGrain(data, { bytes: grainBytes, where: 'x' });
    assert.ok(plain.equals(found), `grain ${grain} is whole`);
  }
});

test('the descriptor describes the disk', async () => {
  const bytes = await bytesOf(memoryDevice(8 * GiB), { random: seededRandom(1), fileName: 'a.vmdk' });
  const descriptor = parseDescriptor(bytes.subarray(512, 21 * 512));
  assert.equal(descriptor.createType, 'streamOptimized');
  assert.equal(descriptor.parentCid, undefined);
  assert.equal(descriptor.extents[0]?.sectors, (8 * GiB) / 512);
  assert.equal(descriptor.extents[0]?.file, 'a.vmdk');
  assert.equal(descriptor.ddb.get('geometry.cylinders'), '1045');
  const odd = await bytesOf(memoryDevice(512), { fileName: 'a"b.vmdk' });
  assert.equal(parseDescriptor(odd.subarray(512, 21 * 512)).extents[0]?.file, 'disk.vmdk');
  assert.ok(bytes.length < 70 * KiB, 'nothing but what frames it');
  const again = await bytesOf(memoryDevice(8 * GiB), { random: seededRandom(1), fileName: 'a.vmdk' });
  assert.ok(bytes.equals(again), 'the same disk gives the same stream');
});

/** Threads of ours that still run. */
function threads(): number {
  return process.getActiveResourcesInfo().filter((name) => /Worker|MessagePort/.test(name)).length;
}

test('given up, cancelled and failed, it leaves no thread', async () => {
  const source = await sample(4);
  const before = threads();
  for await (const piece of writeVmdkStream(source, { workers: 2 })) {
    if (piece.length !== 64 * KiB) break; // the front has passed, threads run
  }
  assert.equal(threads(), before, 'given up');
  const controller = new AbortController();
  const stuck = filterDevice(source, {
    read: async (_offset, _into, signal) => {
      controller.abort();
      await systemClock.sleep(60_000, signal);
    },
  });
  await assert.rejects(bytesOf(stuck, { workers: 2, signal: controller.signal }), { code: 'cancelled' });
  assert.equal(threads(), before, 'cancelled');
  let reads = 0;
  const failing = filterDevice(source, {
    read: async (offset, into, signal) => {
      reads += 1;
      if (reads > 3) throw new PrimaError('source-changed', 'it shrank');
      await source.read(offset, into, signal);
    },
  });
  await assert.rejects(bytesOf(failing, { workers: 2 }), { code: 'source-changed' });
  assert.equal(threads(), before, 'failed');
});

test('given up while the source is stuck, it does not wait for it', async () => {
  const source = await sample(5);
  let reads = 0;
  const slow = filterDevice(source, {
    read: async (offset, into, signal) => {
      reads += 1;
      if (reads > 4) await systemClock.sleep(600_000, signal);
      await source.read(offset, into, signal);
    },
  });
  const writing = writeVmdkStream(slow, { workers: 1 });
  await writing.next();
  const next = writing.next();
  await writing.return({ read: 0, written: 0 });
  await next;
  assert.ok(reads <= 8, 'no more is read than there are slots');
});

test('progress comes to its end', async () => {
  const source = await sample(6);
  const seen: number[] = [];
  await bytesOf(source, { onProgress: ({ done }) => seen.push(done) });
  assert.equal(seen.at(-1), source.size);
  assert.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
  );
});
