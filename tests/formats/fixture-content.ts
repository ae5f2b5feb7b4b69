/**
 * What is in the repositories that are kept of every released format: the same bytes, made anew from a seed each time, so that
 * tests know what a restore has to give.
 */
import { fileURLToPath } from 'node:url';
import { KiB, MiB, seededRandom } from '@prima/base';
import { memoryDevice, type WritableDevice } from '@prima/block';
import type { Secret } from '@prima/repository';

/** The folder with a repository of each format, `v1` and so on. */
export const fixtureFolder = fileURLToPath(new URL('./repositories/', import.meta.url));

/** No secrets: they open repositories of made-up bytes. */
export const fixtureSecrets = {
  passphrase: { kind: 'passphrase', text: 'kept for ever: ünïcode' },
  keyfile: { kind: 'keyfile', bytes: Buffer.from('a key file of the fixture, 32 bytes and more') },
} satisfies Record<string, Secret>;

const fixtureSize = 40 * MiB;
export const fixtureFile = {
  name: 'machine.xml',
  bytes: Buffer.from('<domain><name>fixture</name></domain>\n'),
};

/** The ranges that the disk's content changes in from one point to the next. */
const generations: { offset: number; length: number }[][] = [
  [
    { offset: 0, length: 64 * KiB },
    { offset: 3 * MiB + 512, length: 20 * KiB },
    { offset: 33 * MiB, length: 8 * KiB },
  ],
  [
    { offset: 3 * MiB, length: 12 * KiB },
    { offset: 39 * MiB, length: MiB },
  ],
];

/** The disk as it was at the point with this number, 0 or 1, and what changed since the one before. */
export async function fixtureDisk(point: number): Promise<{
  device: WritableDevice;
  changed: { offset: number; length: number }[];
}> {
  const device = memoryDevice(fixtureSize);
  const random = seededRandom(20_261_123);
  for (const ranges of generations.slice(0, point + 1)) {
    for (const { offset, length } of ranges) await device.write(offset, text(length, random.uint32()));
  }
  return { device, changed: generations[point] ?? [] };
}

/** Bytes that compress: the fixtures stay small. */
function text(length: number, seed: number): Buffer {
  return Buffer.alloc(length, `line ${seed} of a disk that is kept for as long as Prima can read it\n`);
}
