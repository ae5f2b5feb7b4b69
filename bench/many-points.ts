/** How fast `prima points` lists a repository of many restore points, all of small disks. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Logger, runProgram } from '@prima/base';
import { createRepository } from '@prima/repository';
import { memoryStore, type ObjectStore } from '@prima/storage';
import { projectRoot } from '@prima/testbed';
// not part of the package's contract: points without the backups that make them
import { makePoints } from '../packages/repository/src/many-points-fixture.ts';
import { type ProgramRun, runMeasured } from './program-run.ts';
import { median, type Row } from './results.ts';

/** How many, and the seconds that listing them may take. */
const sizes = [
  { count: 1000, atMost: 0.5 },
  { count: 10_000, atMost: 1 },
];

interface PointsResult {
  /** The first listing of this home: every outcome is read, verified and remembered. */
  first: ProgramRun;
  /** Those after it. */
  runs: ProgramRun[];
  listed: number;
}

export async function pointsRows(bench: {
  folder: string;
  rounds: number;
  passphrase: string;
  log: Logger;
}): Promise<{ rows: Row[]; results: PointsResult[] }> {
  const { folder, passphrase, log } = bench;
  const rows: Row[] = [];
  const results: PointsResult[] = [];
  for (const { count, atMost } of sizes) {
    const own = join(folder, 'points');
    await mkdir(own);
    log.info(`making a repository of ${count} restore points`);
    const result = await benchPoints(own, { count, rounds: Math.max(5, bench.rounds), passphrase });
    await rm(own, { recursive: true });
    rows.push(...rowsOf(result, atMost));
    results.push(result);
  }
  return { rows, results };
}

function rowsOf({ first, runs, listed }: PointsResult, atMost: number): Row[] {
  const item = `prima points, ${listed} points`;
  const seconds = median(runs.map((run) => run.seconds));
  const shown = (of: readonly ProgramRun[]) =>
    `${median(of.map((run) => run.seconds)).toFixed(2)} s (processor ${median(of.map((run) => run.cpuSeconds)).toFixed(2)} s)`;
  return [
    { item, prima: shown(runs), value: seconds, unit: 's', wanted: { atMost } },
    { item: `${item}, the first time`, prima: shown([first]), value: first.seconds, unit: 's' },
  ];
}

/**
 * Makes a repository of `count` points in `folder` and lists them once and then `rounds` times, each time with a new
 * process that prints to a file.
 */
async function benchPoints(
  folder: string,
  options: { count: number; rounds: number; passphrase: string },
): Promise<PointsResult> {
  const { count, rounds, passphrase } = options;
  const path = join(folder, 'repository');
  await makeRepository(path, count, passphrase);
  const env = { PRIMA_REPO: path, PRIMA_HOME: join(folder, 'home'), PRIMA_PASSPHRASE: passphrase };
  const printed = join(folder, 'points.json');
  const command = ['sh', '-c', '"$0" points --json --quiet >"$1"', join(projectRoot, 'bin/prima'), printed];
  await runProgram('sync', [], { timeoutMs: 300_000 });
  const first = await runMeasured(command, { env });
  const runs: ProgramRun[] = [];
  for (let round = 0; round < rounds; round += 1) runs.push(await runMeasured(command, { env }));
  const answer = JSON.parse(await readFile(printed, 'utf8')) as { result: unknown[] };
  return { first, runs, listed: answer.result.length };
}

/** In memory, and then as the files of a folder: nobody needs the three syncs that each object costs there. */
async function makeRepository(path: string, count: number, passphrase: string): Promise<void> {
  const store = memoryStore();
  const secret = { kind: 'passphrase', text: passphrase } as const;
  await createRepository(store, { secret, workers: 0 });
  await makePoints(store, secret, count);
  await writeOut(store, path);
}

async function writeOut(store: ObjectStore, path: string): Promise<void> {
  let made = '';
  for await (const { key } of store.list('', { namesOnly: true })) {
    const file = join(path, key);
    const folder = dirname(file);
    if (folder !== made) await mkdir(folder, { recursive: true, mode: 0o700 });
    made = folder;
    await writeFile(file, await store.get(key), { mode: 0o600 });
  }
}
