/**
 * Runs the simulator for a time, seed after seed; the first violation ends it, with the schedule that led there.
 * usage: npm run soak -- [--minutes N] [--seeds N] [--seed FIRST] [--planted NAME] [--unordered]
 * To repeat one run: --seed S --seeds 1. Exit status 1 when something was found.
 */
import { parseArgs } from 'node:util';
import { plantedFaults } from './planted.ts';
import { simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seeds: { type: 'string', default: 'Infinity' },
    seed: { type: 'string', default: '1' },
    planted: { type: 'string' },
    unordered: { type: 'boolean', default: false },
  },
});

const planted = values.planted === undefined ? undefined : plantedFaults[values.planted];
if (values.planted !== undefined && !planted) {
  console.error(`--planted takes one of ${Object.keys(plantedFaults).join(', ')}`);
  process.exit(2);
}

const first = Number(values.seed);
const start = performance.now();
const end = start + Number(values.minutes) * 60_000;
const total = { runs: 0, steps: 0, points: 0 };

for (let seed = first; seed < first + Number(values.seeds) && performance.now() < end; seed += 1) {
  const result = await simulate(seed, { planted, disk: { isOrdered: !values.unordered } });
  total.runs += 1;
  total.steps += result.steps;
  total.points += result.points;
  if (result.violation !== undefined) {
    console.log(result.history.join('\n'));
    console.log(`\nseed ${seed}, after ${result.steps} steps: ${result.violation}`);
    const more = `${values.planted ? ` --planted ${values.planted}` : ''}${values.unordered ? ' --unordered' : ''}`;
    console.log(`repeat it with: npm run soak -- --seed ${seed} --seeds 1${more}`);
    process.exit(1);
  }
  if (total.runs % 100 === 0) report();
}
report();
process.exit(0);

function report(): void {
  const ms = performance.now() - start;
  console.log(
    `${total.runs} runs from seed ${first} on, ${total.steps} steps, ${total.points} points, ${(ms / total.runs).toFixed(0)} ms a run: no violation`,
  );
}
