/** A short run of the simulator, that it repeats itself, and that it finds what is planted. `npm run soak` runs longer. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { plantedFaults } from './planted.ts';
import { type RunResult, simulate } from './simulate.ts';

const first = Number(process.env['PRIMA_SEED'] ?? 1);
const runs = 25;
/** Within so many runs each planted fault is found. */
const enough = 1000;

function told({ seed, history, violation }: RunResult): string {
  return `seed ${seed}: ${violation}\n${history.slice(-60).join('\n')}\nall of it: npm run soak -- --seed ${seed} --seeds 1`;
}

test(`${runs} runs, and nothing is lost`, async (t) => {
  let steps = 0;
  for (let seed = first; seed < first + runs; seed += 1) {
    const result = await simulate(seed);
    assert.equal(result.violation, undefined, told(result));
    steps += result.steps;
  }
  t.diagnostic(`${steps} steps`);
});

test('a run repeats itself, step by step', async () => {
  const [once, again] = [await simulate(first), await simulate(first)];
  assert.deepEqual(again.history, once.history);
});

/**
 * Seeds that showed each planted fault, to begin with: every change of what the repository asks of its store leads to
 * other schedules, and then the search goes on from seed 1.
 */
const hints: Record<string, number> = {
  'shares-condemned': 104,
  'stale-parent': 4,
  'late-marker': 52,
  'deletes-first': 32,
  'fence-overwritten': 11,
  'no-wait': 14,
  'no-second-mark': 102,
  'forgets-fences': 11,
  'no-pin': 9,
  'packs-after-outcome': 10,
  'no-folder-sync': 13,
  'no-file-sync': 2,
};

test('every planted fault is in the documentation', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/testing.md'), 'utf8');
  for (const [name, { what }] of Object.entries(plantedFaults)) {
    assert.ok(text.includes(`| \`${name}\` | ${what} |`), name);
  }
});

for (const [name, planted] of Object.entries(plantedFaults)) {
  test(`finds ${name}: ${planted.what}`, async (t) => {
    const hint = hints[name] ?? 1;
    const seeds = [hint, ...Array.from({ length: enough }, (_, index) => index + 1)];
    for (const [tried, seed] of seeds.entries()) {
      const { violation } = await simulate(seed, { planted });
      if (violation === undefined) continue;
      t.diagnostic(`seed ${seed}, run ${tried + 1}: ${violation.split('\n')[0]}`);
      return;
    }
    assert.fail(`not found in ${enough} runs`);
  });
}
