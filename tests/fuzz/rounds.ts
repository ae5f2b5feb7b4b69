/**
 * One target, round after round, in this process: `tests/fuzz/main.ts` starts it, with little memory, and looks after it. A round is
 * known by the seed and its number; the number is in `progress` (8 bytes) before the round begins, so that whoever finds this
 * process dead or stuck knows which input did it.
 *
 * Arguments: target, seed, first round, milliseconds of processor time, progress file.
 * Ends with a line of JSON: {"rounds": 123} or {"rounds": 5, "fault": "what was wrong"}.
 */
import { openSync, writeSync } from 'node:fs';
import { MiB, type Random, seededRandom } from '@prima/base';
import { answerOf } from '@prima/testbed';
import { type FuzzTarget, fuzzTargets } from './targets.ts';

/** A round may take so much more memory than all before it, and so much processor time. */
const memoryLimitBytes = 256 * MiB;
const roundLimitMs = 10_000;

/** The same for the same seed, so that rounds can be repeated alone. */
export async function makeTarget(name: string, seed: number): Promise<FuzzTarget> {
  const make = fuzzTargets[name];
  if (!make) throw new Error(`there is no target ${name}; there are ${Object.keys(fuzzTargets).join(', ')}`);
  return await make(seededRandom(seed));
}

export function randomOf(seed: number, round: number): Random {
  return seededRandom((Math.imul(seed, 0x9e3779b1) ^ Math.imul(round + 1, 0x85ebca77)) >>> 0);
}

export interface Rounds {
  rounds: number;
  fault?: string;
}

async function runRounds([
  name = '',
  seedText,
  firstText,
  msText,
  progress = '',
]: readonly string[]): Promise<Rounds> {
  const [seed, first, ms] = [Number(seedText), Number(firstText), Number(msText)];
  const target = await makeTarget(name, seed);
  const file = openSync(progress, 'r+');
  const number = Buffer.alloc(8);
  let peak = 0;
  for (let round = first; ; round += 1) {
    if (cpuMs() > ms) return { rounds: round };
    number.writeDoubleLE(round);
    writeSync(file, number, 0, 8, 0);
    const before = cpuMs();
    const fault = await faultOf(target, randomOf(seed, round));
    const [took, memory] = [cpuMs() - before, process.resourceUsage().maxRSS * 1024];
    if (fault !== undefined) return { rounds: round, fault };
    if (took > roundLimitMs)
      return { rounds: round, fault: `it took ${took.toFixed(0)} ms of processor time` };
    // the first rounds load what is needed
    if (round >= first + 50 && memory - peak > memoryLimitBytes) {
      return { rounds: round, fault: `it took ${((memory - peak) / MiB).toFixed(0)} MiB of memory` };
    }
    peak = Math.max(peak, memory);
  }
}

async function faultOf(target: FuzzTarget, random: Random): Promise<string | undefined> {
  try {
    await answerOf(() => target.read(target.input(random), random), 'reading');
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) return String(error);
    const { cause } = error;
    return `${error.message}\n${(cause instanceof Error ? cause : error).stack ?? ''}`;
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

if (import.meta.main) console.log(JSON.stringify(await runRounds(process.argv.slice(2))));
