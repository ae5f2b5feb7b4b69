/** A short run of the simulator, that it repeats itself, and that it finds what is planted. `npm run soak` runs longer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plantedFaults } from './planted.ts';
import { type RunResult, simulate } from './simulate.ts';

const first = Number(process.env['PRIMA_SEED'] ?? 1);
const runs = 30;

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

/** Seeds at which each planted fault shows, found by trying from 1 on. */
const showing: Record<string, number> = {};

test('every planted fault has its seed', () => {
  assert.deepEqual(Object.keys(showing).sort(), Object.keys(plantedFaults).sort());
});

for (const [name, seed] of Object.entries(showing)) {
  test(`finds ${name}: ${plantedFaults[name]?.what}`, async (t) => {
    const { violation, steps } = await simulate(seed, { planted: plantedFaults[name] });
    assert.ok(violation, `nothing at seed ${seed}; look for another: npm run soak -- --planted ${name}`);
    t.diagnostic(`after ${steps} steps: ${violation.split('\n')[0]}`);
  });
}
