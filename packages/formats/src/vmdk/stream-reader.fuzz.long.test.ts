/** Damaged and invented streams: refused with an error of their own, or read within the disk's bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerOf, fuzzRun, mutate } from '@prima/testbed';
import { readGrains } from './stream-copy.ts';
import { fixtureForms, grainSectors, makeStream, noise } from './stream-fixture.ts';
import { openVmdkStream } from './stream-reader.ts';

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

test('streams: grains are whole, ascend and lie on the disk', async () => {
  const { seed, rounds, random } = fuzzRun(2000);
  const grains = [0, 1, 5, 8, 9].map((number) => ({ number, plain: noise(number) }));
  const valid = fixtureForms.map((form) => makeStream({ form, capacity: 10 * grainSectors, grains }));
  for (let round = 0; round < rounds; round += 1) {
    const original = valid[random.below(valid.length)] ?? Buffer.alloc(0);
    const bytes = mutate(random, original, valid);
    const where = `seed ${seed}, round ${round}`;
    await answerOf(async () => {
      const stream = await openVmdkStream(inPieces(bytes, 1 + random.below(3000)), { name: 'x.vmdk' });
      let end = 0;
      for await (const { offset, bytes: grain } of readGrains(stream, { workers: 0 })) {
        assert.ok(offset >= end && offset % stream.grainBytes === 0, where);
        assert.equal(grain.length, Math.min(stream.grainBytes, stream.size - offset), where);
        end = offset + grain.length;
      }
      assert.ok(end <= stream.size, where);
    }, where);
  }
});
