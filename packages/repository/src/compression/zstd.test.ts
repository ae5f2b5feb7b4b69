import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KiB, MiB, seededRandom } from '@prima/base';
import { plainZstd, zstdFor } from './zstd.ts';

const shared = (length: number) => new Uint8Array(new SharedArrayBuffer(length));

/** Words that come again and again, so that there is something to compress. */
function text(length: number, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const words = Array.from({ length: 200 }, () => random.bytes(new Uint8Array(3 + random.below(9))));
  const bytes = shared(length);
  for (let at = 0; at < length; ) {
    const word = words[random.below(words.length)] ?? new Uint8Array(1);
    bytes.set(word.subarray(0, length - at), at);
    at += word.length;
  }
  return bytes;
}

describe('zstd', () => {
  const native = zstdFor(MiB);
  const plain = plainZstd('to compare with');

  it('is the one that is in Node', () => {
    assert.equal(native.reason, undefined);
  });

  for (const [name, one, other] of [
    ['direct to node:zlib', native, plain],
    ['node:zlib to direct', plain, native],
    ['direct', native, native],
  ] as const) {
    it(`gives back what it got: ${name}`, () => {
      for (const length of [64 * KiB, 300_001, MiB, 4 * MiB, MiB - 1]) {
        for (const level of [1, 3]) {
          const from = text(length, length + level);
          const frame = shared(length);
          const packed = one.compress(from, frame.subarray(1), level);
          assert.ok(packed !== undefined && packed < length * 0.9, `${packed} of ${length} bytes`);
          const into = shared(length);
          other.decompress(frame.subarray(1, packed + 1), into);
          assert.equal(Buffer.compare(from, into), 0);
        }
      }
    });
  }

  for (const [name, zstd] of [
    ['direct', native],
    ['node:zlib', plain],
  ] as const) {
    describe(name, () => {
      it('says when there is no room', () => {
        const random = seededRandom(3).bytes(shared(MiB));
        assert.equal(zstd.compress(random, shared(Math.floor(MiB * 0.97)), 1), undefined);
        assert.equal(zstd.compress(random, shared(10), 1), undefined);
        assert.ok(zstd.compress(text(MiB, 1), shared(MiB), 1), 'it works again afterwards');
      });

      it('raises for damaged, cut and misfit frames', () => {
        const from = text(MiB, 9);
        const memory = shared(MiB);
        const frame = memory.subarray(0, zstd.compress(from, memory, 1) ?? 0);
        const wrong = { code: 'format' };
        const flipped = Uint8Array.from(frame);
        flipped[0] = (flipped[0] ?? 0) ^ 1;
        assert.throws(() => zstd.decompress(flipped, shared(MiB)), wrong);
        assert.throws(() => zstd.decompress(frame.subarray(0, frame.length / 2), shared(MiB)), wrong);
        assert.throws(() => zstd.decompress(frame, shared(MiB - 1)), wrong);
        assert.throws(() => zstd.decompress(frame, shared(MiB + 1)), wrong);
        const again = shared(MiB);
        zstd.decompress(frame, again);
        assert.equal(Buffer.compare(from, again), 0);
      });
    });
  }
});
