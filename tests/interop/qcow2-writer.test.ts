/** qcow2 files of our own writer, as QEMU's tools see them: sound, the same content, and good to be written to. */
import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { KiB, MiB, runProgram } from '@prima/base';
import { memoryDevice, openRawFile } from '@prima/block';
import { writeQcow2File } from '@prima/formats';
import { fuzzRun, randomFile, temporaryFolder } from '@prima/testbed';

async function assertSound(path: string, raw?: string): Promise<void> {
  await runProgram('qemu-img', ['check', '-q', '-f', 'qcow2', path]);
  if (raw) await runProgram('qemu-img', ['compare', '-q', '-f', 'qcow2', '-F', 'raw', path, raw]);
}

test('sparse files of all sizes', async (t) => {
  const folder = await temporaryFolder(t);
  const shapes = [
    { size: 512, dataFraction: 1 },
    { size: 64 * KiB + 512, dataFraction: 1 },
    { size: 20 * MiB - 1536, dataFraction: 0.3 },
    { size: 530 * MiB, dataFraction: 0.05 },
    { size: 96 * MiB, dataFraction: 1 },
    { size: 513 * MiB, dataFraction: 0 },
  ];
  for (const [seed, shape] of shapes.entries()) {
    const [raw, path] = [join(folder, `${seed}.raw`), join(folder, `${seed}.qcow2`)];
    const dataBytes = await randomFile(raw, { ...shape, seed });
    const source = await openRawFile(raw);
    const { written } = await writeQcow2File(source, path);
    await source.close();
    assert.equal(written, dataBytes);
    await assertSound(path, raw);
    const { mode, blocks } = await stat(path);
    assert.equal(mode & 0o777, 0o600);
    assert.ok(blocks * 512 <= dataBytes + 2 * MiB, `${blocks * 512} bytes for ${dataBytes}`);
    const other = { path: join(folder, `${seed}-c.raw`) };
    await runProgram('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, other.path]);
    await runProgram('cmp', ['-n', String(shape.size), raw, other.path]);
  }
});

test('zeros that the source calls data take no room, and QEMU writes into the gaps', async (t) => {
  const folder = await temporaryFolder(t);
  const { seed, random } = fuzzRun(1);
  const size = 40 * MiB;
  const source = memoryDevice(size);
  await source.write(0, random.bytes(new Uint8Array(1 * MiB)));
  await source.write(8 * MiB, new Uint8Array(4 * MiB));
  await source.write(30 * MiB + 512, random.bytes(new Uint8Array(3 * MiB)));
  const path = join(folder, 'disk.qcow2');
  await writeQcow2File(source, path);
  await assertSound(path);
  const raw = await openRawFile(join(folder, 'disk.raw'), { create: { size } });
  const whole = new Uint8Array(size);
  await source.read(0, whole);
  await raw.write(0, whole);
  await raw.close();
  await assertSound(path, join(folder, 'disk.raw'));
  for (let round = 0; round < 30; round += 1) {
    const offset = 512 * random.below(size / 512 - 4096);
    const length = 512 * (1 + random.below(4095));
    const pattern = 1 + random.below(255);
    for (const [format, file] of [
      ['qcow2', path],
      ['raw', join(folder, 'disk.raw')],
    ] as const) {
      await runProgram('qemu-io', ['-f', format, '-c', `write -q -P ${pattern} ${offset} ${length}`, file]);
    }
  }
  await assertSound(path, join(folder, 'disk.raw'));
  assert.ok(seed >= 0);
});

test('what is not whole is no qcow2', async (t) => {
  const folder = await temporaryFolder(t);
  const path = join(folder, 'disk.qcow2');
  const source = memoryDevice(4 * MiB);
  await source.write(0, new Uint8Array(MiB).fill(1));
  const failing = Object.assign(Object.create(source) as typeof source, {
    read: () => Promise.reject(new Error('the source is gone')),
    extents: source.extents.bind(source),
  });
  Object.defineProperty(failing, 'size', { value: source.size });
  await assert.rejects(writeQcow2File(failing, path), /the source is gone/);
  await assert.rejects(runProgram('qemu-img', ['check', '-f', 'qcow2', path]), /not in qcow2 format/);
  await assert.rejects(writeQcow2File(source, path), { code: 'exists' });
});
