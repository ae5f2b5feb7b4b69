/** streamOptimized VMDKs between Prima and qemu-img: each reads what the other wrote. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { MiB, PrimaError, runProgram, seededRandom } from '@prima/base';
import { filterDevice, openRawFile, type WritableDevice } from '@prima/block';
import { copyVmdkStream, detectFormat, openVmdkStream, writeVmdkStreamFile } from '@prima/formats';

let folder = '';
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prima-stream-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** A raw file with data, zeros and holes, over several grain tables; and its seed. */
async function makeDisk(name: string, size: number): Promise<{ disk: WritableDevice; seed: number }> {
  const seed = Number(process.env['PRIMA_SEED'] ?? Date.now() % 1e9);
  const random = seededRandom(seed);
  const disk = await openRawFile(at(name), { create: { size } });
  for (let index = 0; index < 30; index += 1) {
    const length = Math.min(size, 512 * (1 + random.below(600)));
    const bytes = new Uint8Array(length).fill(random.below(3));
    const offset = 512 * random.below((size - length) / 512 + 1);
    await disk.write(offset, index % 3 ? random.bytes(bytes) : bytes);
  }
  return { disk, seed };
}

async function assertSameFiles(a: string, b: string, seed: number): Promise<void> {
  const [left, right] = await Promise.all([readFile(a), readFile(b)]);
  assert.ok(left.equals(right), `seed ${seed}: ${a} and ${b} are the same`);
}

async function unpack(source: AsyncIterable<Uint8Array>, target: string): Promise<number> {
  const stream = await openVmdkStream(source, { name: 'the stream' });
  const disk = await openRawFile(target, { create: { size: stream.size, exclusive: false } });
  try {
    return (await copyVmdkStream(stream, disk, { targetIsZero: true })).written;
  } finally {
    await disk.close();
  }
}

/** Whole grains and tables, an odd number of sectors, one grain that is not whole. */
const sizes = [96 * MiB, 70 * MiB + 7 * 512, 3 * 512];

for (const size of sizes) {
  test(`a disk of ${size} bytes: qemu-img reads ours, we read qemu-img's`, async () => {
    const { disk, seed } = await makeDisk('a.raw', size);
    const { written } = await writeVmdkStreamFile(disk, at('ours.vmdk'));
    await disk.close();
    assert.equal((await stat(at('ours.vmdk'))).size, written);
    assert.equal(await detectFormat(at('ours.vmdk')), 'vmdk');
    await runProgram('qemu-img', ['convert', '-f', 'vmdk', '-O', 'raw', at('ours.vmdk'), at('b.raw')]);
    await assertSameFiles(at('a.raw'), at('b.raw'), seed);
    const args = [
      '-f',
      'raw',
      '-O',
      'vmdk',
      '-o',
      'subformat=streamOptimized',
      at('a.raw'),
      at('theirs.vmdk'),
    ];
    await runProgram('qemu-img', ['convert', ...args]);
    await unpack(createReadStream(at('theirs.vmdk')), at('c.raw'));
    await assertSameFiles(at('a.raw'), at('c.raw'), seed);
    await unpack(createReadStream(at('ours.vmdk'), { highWaterMark: 777 }), at('c.raw'));
    await assertSameFiles(at('a.raw'), at('c.raw'), seed);
  });
}

test('what qemu-img wrote, cut off behind any of its grains, is not taken for whole', async () => {
  const { disk, seed } = await makeDisk('a.raw', 2 * MiB);
  await disk.close();
  const args = ['-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', at('a.raw'), at('theirs.vmdk')];
  await runProgram('qemu-img', ['convert', ...args]);
  const places: number[] = [];
  const stream = await openVmdkStream(createReadStream(at('theirs.vmdk')), { name: 'x' });
  for await (const grain of stream.grains()) places.push(grain.at);
  assert.ok(places.length > 3, `seed ${seed}`);
  for (const end of places) {
    const cut = createReadStream(at('theirs.vmdk'), { end: end - 1 });
    await assert.rejects(
      unpack(cut, at('b.raw')),
      { code: 'format', message: /its tables name/ },
      `seed ${seed}`,
    );
  }
});

test('a stream inside a tar, as an OVA has it', async () => {
  const { disk, seed } = await makeDisk('a.raw', 5 * MiB);
  const { written } = await writeVmdkStreamFile(disk, at('disk1.vmdk'));
  await disk.close();
  await writeFile(at('a.ovf'), '<Envelope/>');
  await runProgram('tar', ['--format=ustar', '-C', folder, '-cf', at('a.ova'), 'a.ovf', 'disk1.vmdk']);
  // two headers and the first member's sector lie before
  const start = 3 * 512;
  await unpack(createReadStream(at('a.ova'), { start, end: start + written - 1 }), at('b.raw'));
  await assertSameFiles(at('a.raw'), at('b.raw'), seed);
  await unpack(createReadStream(at('a.ova'), { start }), at('b.raw'));
  await assertSameFiles(at('a.raw'), at('b.raw'), seed);
});

test('a stream becomes qcow2 and comes back', async () => {
  const { disk, seed } = await makeDisk('a.raw', 40 * MiB);
  await writeVmdkStreamFile(disk, at('a.vmdk'), { level: 9 });
  await disk.close();
  await runProgram('qemu-img', ['convert', '-f', 'vmdk', '-O', 'qcow2', at('a.vmdk'), at('a.qcow2')]);
  const args = ['-f', 'qcow2', '-O', 'vmdk', '-o', 'subformat=streamOptimized', at('a.qcow2'), at('b.vmdk')];
  await runProgram('qemu-img', ['convert', ...args]);
  const written = await unpack(createReadStream(at('b.vmdk')), at('b.raw'));
  await assertSameFiles(at('a.raw'), at('b.raw'), seed);
  assert.ok(written <= 40 * MiB);
});

test('nothing is left when the source fails, the user cancels or the name is taken', async () => {
  const { disk } = await makeDisk('a.raw', 9 * MiB);
  const failing = filterDevice(disk, {
    read: () => Promise.reject(new PrimaError('source-changed', 'the source is gone')),
  });
  await assert.rejects(writeVmdkStreamFile(failing, at('a.vmdk')), { code: 'source-changed' });
  const cancel = new AbortController();
  const options = { signal: cancel.signal, onProgress: () => cancel.abort() };
  await assert.rejects(writeVmdkStreamFile(disk, at('a.vmdk'), options), { code: 'cancelled' });
  assert.deepEqual(await readdir(folder), ['a.raw']);
  await assert.rejects(writeVmdkStreamFile(disk, at('a.raw')), { code: 'exists' });
  await disk.close();
});
