/** Random damage to headers, directories and tables: a repair never makes a sector worse that could be read. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Random } from '@prima/base';
import { answerOf, fuzzRun } from '@prima/testbed';
import { bytesOf, damagedSize, filledDisk, setBytes } from './check-fixture.ts';
import { checkVmdk } from './check-vmdk.ts';
import type { MemoryFolder } from './memory-folder.ts';
import { openVmdk } from './open-vmdk.ts';

const file = '/disk.vmdk';
const step = 8192;

/** For each piece of the disk: true when it is read as it was; false when as something else; undefined when not at all. */
async function readPieces(folder: MemoryFolder, expected: Buffer): Promise<(boolean | undefined)[]> {
  const pieces = Array.from({ length: Math.ceil(damagedSize / step) }, (_, index) => index * step);
  const opened = await answerOf(() => openVmdk(file, { folder }), 'opening');
  if (!opened) return pieces.map(() => undefined);
  const { device } = opened;
  const found: (boolean | undefined)[] = [];
  for (const offset of pieces) {
    const bytes = Buffer.alloc(Math.min(step, damagedSize - offset));
    const isThere = offset + bytes.length <= device.size;
    const isRead =
      isThere && (await answerOf(async () => device.read(offset, bytes).then(() => true), 'reading'));
    found.push(isRead === true ? bytes.equals(expected.subarray(offset, offset + bytes.length)) : undefined);
  }
  await device.close();
  return found;
}

/** One place of what is not data is changed: where it is noise, zeros, a word, or what is elsewhere. */
function damage(random: Random, bytes: Buffer, [tablesStart, dataStart]: readonly [number, number]): void {
  // not the descriptor: another text is another disk
  const at =
    random.below(8) === 0
      ? 4 * random.below(20)
      : tablesStart + 4 * random.below((dataStart - tablesStart) / 4);
  const from = 4 * random.below(bytes.length / 4 - 600);
  switch (random.below(6)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      break;
    case 1:
      bytes.fill(0, at - (at % 512), at - (at % 512) + 512);
      break;
    case 2:
      bytes.set(random.bytes(new Uint8Array(512)), at - (at % 512));
      break;
    case 3:
      bytes.writeUInt32LE(random.below(bytes.length / 512 + 20), at);
      break;
    case 4:
      bytes.copy(bytes, at - (at % 512), from, from + 2048);
      break;
    default:
      bytes.copy(bytes, at, from, from + 4);
  }
}

for (const [name, options, path, area] of [
  ['hosted', { createType: 'monolithicSparse', grainSectors: 16 }, file, [21 * 512, 23 * 512 + 6 * 2048]],
  [
    'hosted with zeroed grains',
    { createType: 'monolithicSparse', grainSectors: 16, zeroedGrains: true },
    file,
    [21 * 512, 23 * 512 + 6 * 2048],
  ],
  ['COWD', { createType: 'vmfsSparse', grainSectors: 3 }, '/disk-delta.vmdk', [2048, 5 * 512 + 32 * 512]],
] as const) {
  test(`${name}: a repair makes nothing worse`, async () => {
    const { seed, rounds, random } = fuzzRun(60);
    for (let round = 0; round < rounds; round += 1) {
      const where = `PRIMA_SEED=${seed}, round ${round}`;
      const { folder, expected } = await filledDisk(options);
      const bytes = await bytesOf(folder, path);
      for (let left = 1 + random.below(3); left > 0; left -= 1) damage(random, bytes, area);
      await setBytes(folder, path, bytes);
      const before = await readPieces(folder, expected);
      const result = await answerOf(() => checkVmdk(file, { folder, repair: true }), where);
      assert.ok(result, where);
      const after = await readPieces(folder, expected);
      const worse = before.findIndex(
        (was, at) => (was === true && after[at] !== true) || (was === undefined && after[at] === false),
      );
      assert.equal(
        worse,
        -1,
        `${where}: piece ${worse} was ${before[worse]} and is ${after[worse]}; ${JSON.stringify(result)}`,
      );
    }
  });
}
