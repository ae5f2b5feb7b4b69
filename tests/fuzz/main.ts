/**
 * Fuzzes the parsers of disk formats and machine configurations, each in a process of its own with 256 MiB for its values.
 * usage: npm run fuzz -- [--minutes N] [--only NAME]… [--seed S] [--folder PATH]
 * N is the processor time of all targets together (default 10). Inputs that fail are written to the folder (default: a new one),
 * with how to repeat them. Exit status 1 when there were any.
 */
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeTarget, randomOf, type Rounds } from './rounds.ts';
import { fuzzTargets } from './targets.ts';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    only: { type: 'string', multiple: true, default: [] },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    folder: { type: 'string' },
  },
});

/** Without a new round for so long a process is stuck: a round has 10 s of processor time, which may be scarce. */
const stuckMs = 120_000;
const mostFaults = 5;

const seed = Number(values.seed);
const names = Object.keys(fuzzTargets).filter(
  (name) => values.only.length === 0 || values.only.includes(name),
);
if (names.length === 0 || !(Number(values.minutes) > 0) || !Number.isSafeInteger(seed)) {
  console.error(`--only takes ${Object.keys(fuzzTargets).join(', ')}; --minutes and --seed are numbers`);
  process.exit(2);
}
const shareMs = (Number(values.minutes) * 60_000) / names.length;
let folder = values.folder;
let faults = 0;
console.log(`seed ${seed}: ${names.length} targets, ${(shareMs / 1000).toFixed(1)} s of processor time each`);
for (const name of names) faults += await fuzz(name);
console.log(faults === 0 ? 'no faults' : `${faults} faults, in ${folder ?? ''}`);
process.exit(faults === 0 ? 0 : 1);

/** Goes on behind a fault: the next may be another. */
async function fuzz(name: string): Promise<number> {
  const work = await mkdtemp(join(tmpdir(), 'prima-fuzz-'));
  const progress = join(work, 'round');
  let first = 0;
  let found = 0;
  let left = shareMs;
  try {
    while (left > 0 && found < mostFaults) {
      await writeFile(progress, Buffer.alloc(8));
      const start = performance.now();
      const { rounds, fault } = await runProcess([name, String(seed), String(first), String(left), progress]);
      if (fault === undefined) {
        console.log(`${name.padEnd(16)} ${rounds} rounds${found > 0 ? `, ${found} faults` : ''}`);
        return found;
      }
      left -= performance.now() - start;
      await save({ name, round: rounds, fault });
      found += 1;
      first = rounds + 1;
    }
    console.log(`${name.padEnd(16)} ${first} rounds, ${found} faults`);
    return found;
  } finally {
    await rm(work, { recursive: true });
  }
}

async function runProcess(args: readonly string[]): Promise<Rounds> {
  const script = join(import.meta.dirname, 'rounds.ts');
  const child = spawn(process.execPath, ['--max-old-space-size=256', script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { out: '', error: '' };
  child.stdout.on('data', (piece: Buffer) => (output.out += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (output.error = (output.error + piece.toString()).slice(-4000)));
  let last = { round: -1, since: performance.now() };
  const look = async () => {
    const round = await roundIn(args.at(-1) ?? '');
    if (round !== last.round) last = { round, since: performance.now() };
    else if (performance.now() - last.since > stuckMs) child.kill('SIGKILL');
  };
  const timer = setInterval(() => void look(), 1000);
  const [status, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, by) => resolve([code, by]));
  });
  clearInterval(timer);
  if (status === 0) return JSON.parse(output.out.trim().split('\n').at(-1) ?? '') as Rounds;
  const round = await roundIn(args.at(-1) ?? '');
  const how =
    signal === 'SIGKILL' ? `it was stuck for ${stuckMs / 1000} s` : `it ended with ${signal ?? status}`;
  return { rounds: round, fault: `${how}\n${output.error}` };
}

async function roundIn(path: string): Promise<number> {
  const bytes = await readFile(path);
  return bytes.length === 8 ? bytes.readDoubleLE(0) : 0;
}

async function save({ name, round, fault }: { name: string; round: number; fault: string }): Promise<void> {
  folder ??= await mkdtemp(join(tmpdir(), 'prima-fuzz-faults-'));
  await mkdir(folder, { recursive: true });
  const target = await makeTarget(name, seed);
  const path = join(folder, `${name}-${seed}-${round}`);
  await writeFile(`${path}.bin`, target.input(randomOf(seed, round)));
  await writeFile(`${path}.txt`, `target ${name}, seed ${seed}, round ${round}\n${fault}\n`);
  console.log(
    `FAULT ${name}, seed ${seed}, round ${round}: ${fault.slice(0, 600)}\n  its input: ${path}.bin`,
  );
}
