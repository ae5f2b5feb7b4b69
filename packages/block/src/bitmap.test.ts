import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import { Bitmap } from './mod.ts';

test('a bitmap agrees with a plain list of flags', () => {
  const seed = Date.now() % 1_000_000;
  const random = seededRandom(seed);
  for (let round = 0; round < 100; round += 1) {
    const length = 1 + random.below(100);
    const bitmap = new Bitmap(length);
    const flags: boolean[] = Array.from({ length }, () => false);
    for (let i = 0; i < random.below(6); i += 1) {
      const first = random.below(length);
      const end = first + random.below(length - first + 1);
      bitmap.add(first, end);
      flags.fill(true, first, end);
    }
    const from = random.below(length);
    const to = from + random.below(length - from + 1);
    let position = from;
    let last: boolean | undefined;
    for (const run of bitmap.runs(from, to)) {
      assert.equal(run.first, position, `seed ${seed}`);
      assert.notEqual(run.set, last, `seed ${seed}: runs are as long as they can be`);
      assert.ok(run.end > run.first, `seed ${seed}`);
      assert.ok(
        flags.slice(run.first, run.end).every((flag) => flag === run.set),
        `seed ${seed}`,
      );
      position = run.end;
      last = run.set;
    }
    assert.equal(position, to, `seed ${seed}`);
  }
});
