/** File systems that are changed where the search for free space reads them: the input is a place and the bytes there. */
import assert from 'node:assert/strict';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MiB, type Random, type Range, runProgram } from '@prima/base';
import { type BlockDevice, copyDevice, filterDevice, memoryDevice, openRawFile } from '@prima/block';
import { findFreeSpace } from '@prima/formats';
import { mutate } from '@prima/testbed';
import type { FuzzTarget } from './targets.ts';

export const guestSpaceTargets: Readonly<Record<string, () => Promise<FuzzTarget>>> = {
  'free-space-ext4': () => target(64, ['mke2fs', '-q', '-F', '-t', 'ext4']),
  'free-space-ext2': () => target(32, ['mke2fs', '-q', '-F', '-t', 'ext2']),
  'free-space-xfs': () => target(320, ['mkfs.xfs', '-q', '-f']),
  'free-space-ntfs': () => target(32, ['mkfs.ntfs', '-q', '-Q', '-F']),
};

const offsetBytes = 8;

async function target(mebibytes: number, command: readonly string[]): Promise<FuzzTarget> {
  const device = await madeWith(mebibytes * MiB, command);
  const read: Range[] = [];
  await findFreeSpace(watching(device, read), { smallest: 1 });
  // the first reads look for signatures, and take much more than is used
  const places = read.filter(({ length }) => length <= 65_536);
  assert.ok(places.length > 0, 'something was read');
  const originals = await Promise.all(places.map((place) => bytesAt(device, place)));
  return {
    input: (random: Random) => {
      const at = random.below(places.length);
      const { offset } = places[at] ?? { offset: 0 };
      const original = originals[at] ?? Buffer.alloc(0);
      const start = random.below(Math.max(1, original.length - 63));
      const bytes = mutate(random, original.subarray(start, start + 64));
      const head = Buffer.alloc(offsetBytes);
      head.writeBigUInt64LE(BigInt(offset + start));
      return Buffer.concat([head, bytes.subarray(0, 64)]);
    },
    read: async (input) => {
      const hit = { offset: Number(input.readBigUInt64LE(0)), bytes: input.subarray(offsetBytes) };
      const { ranges } = await findFreeSpace(watching(device, [], hit), { smallest: 1 });
      for (const { offset, length } of ranges) assert.ok(offset >= 0 && offset + length <= device.size);
    },
  };
}

async function madeWith(size: number, [program = '', ...args]: readonly string[]): Promise<BlockDevice> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-fuzz-'));
  try {
    const path = join(folder, 'fs.raw');
    const file = await open(path, 'w');
    await file.truncate(size);
    await file.close();
    await runProgram(program, [...args, path]);
    const made = await openRawFile(path);
    const device = memoryDevice(size);
    await copyDevice(made, device, { targetIsZero: true });
    await made.close();
    return device;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function bytesAt(device: BlockDevice, { offset, length }: Range): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  await device.read(offset, bytes);
  return bytes;
}

/** Remembers what was read, and gives some of it changed. */
function watching(device: BlockDevice, read: Range[], hit?: { offset: number; bytes: Buffer }): BlockDevice {
  return filterDevice(device, {
    read: async (offset, into) => {
      read.push({ offset, length: into.length });
      await device.read(offset, into);
      if (!hit) return;
      const from = Math.max(offset, hit.offset);
      const to = Math.min(offset + into.length, hit.offset + hit.bytes.length);
      if (to > from) into.set(hit.bytes.subarray(from - hit.offset, to - hit.offset), from - offset);
    },
  });
}
