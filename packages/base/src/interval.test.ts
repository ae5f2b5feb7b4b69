import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignRanges, invertRanges, mergeRanges, type Range, totalLength } from './interval.ts';
import { seededRandom } from './random.ts';

test('ranges agree with a plain bitmap model', () => {
  const seed = Date.now() % 1_000_000;
  const random = seededRandom(seed);
  for (let round = 0; round < 200; round += 1) {
    const ranges: Range[] = Array.from({ length: random.below(8) }, () => {
      const offset = random.below(60);
      return { offset, length: random.below(64 - offset) };
    });
    const bits = (list: readonly Range[]) =>
      Array.from({ length: 64 }, (_, i) => list.some((r) => i >= r.offset && i < r.offset + r.length));
    const merged = mergeRanges(ranges);
    const message = `seed ${seed} ${JSON.stringify(ranges)}`;
    assert.deepEqual(bits(merged), bits(ranges), message);
    for (let i = 1; i < merged.length; i += 1) {
      const [a, b] = [merged[i - 1], merged[i]];
      assert.ok(a && b && a.offset + a.length < b.offset, message);
    }
    const gaps = invertRanges(ranges, { offset: 0, length: 64 });
    assert.deepEqual(
      bits(gaps),
      bits(ranges).map((bit) => !bit),
      message,
    );
    assert.equal(totalLength(gaps) + totalLength(merged), 64, message);
    const aligned = alignRanges(ranges, 8, 64);
    assert.ok(
      bits(ranges).every((bit, i) => !bit || bits(aligned)[i]),
      message,
    );
  }
});
