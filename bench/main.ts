/**
 * Measures Prima beside its peers on one disk and holds the results to the figures that are wanted; what is
 * measured and how to read it is in docs/operating/benchmarks.md.
 *
 * usage: npm run bench [-- [--rounds N] [--only NAME]… [--tebibytes N] [--json]]
 *        NAME: backup, unchanged, restore, incremental, s3, points, index, nbd, convert, libvirt, server
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatBytes, KiB, type Logger, MiB, UserError } from '@prima/base';
import { ensureDebianPackages, packagesFor, testbedCache } from '@prima/testbed';
import { benchConvert, convertRows, renderConversions } from './convert.ts';
import { race, type Stage, stages } from './disk-race.ts';
import { benchIncremental, type IncrementalResult } from './incremental.ts';
import { indexRows } from './index-rows.ts';
import { pointsRows } from './many-points.ts';
import { libvirtRows, raceOnLibvirt } from './libvirt-host.ts';
import { benchNbd } from './nbd.ts';
import { raceOnS3 } from './on-s3.ts';
import {
  compared,
  contenders,
  incrementalRows,
  plain,
  raceRows,
  renderEntries,
  s3Rows,
} from './race-rows.ts';
import { isHeld, median, renderRows, type Row } from './results.ts';
import { serverRows } from './server-load.ts';
import { buildTestDisk, type TestDisk } from './test-disk.ts';

const names = [
  ...stages,
  'incremental',
  's3',
  'points',
  'index',
  'nbd',
  'convert',
  'libvirt',
  'server',
] as const;
type Name = (typeof names)[number];

const passphrase = 'not a secret: the benchmark';

interface Bench {
  folder: string;
  rounds: number;
  tebibytes: number;
  only: ReadonlySet<Name>;
  log: Logger;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string', default: '3' },
      tebibytes: { type: 'string', default: '1' },
      only: { type: 'string', multiple: true, default: [] },
      json: { type: 'boolean', default: false },
    },
  });
  const log = standardErrorLog();
  const cores = availableParallelism();
  const load = loadavg()[0] ?? 0;
  if (load > 0.5) {
    log.warn(
      `the machine has ${cores} cores and a load of ${load.toFixed(1)}: ratios of times favour programs that use fewer cores`,
    );
  }
  const bench = {
    rounds: parseCount('rounds', values.rounds),
    tebibytes: parseCount('tebibytes', values.tebibytes),
    only: parseNames(values.only),
    log,
  };
  await ensureDebianPackages(packagesFor('bench'), { log });
  const folder = await mkdtemp(join(await testbedCache(), 'bench-run-'));
  try {
    const { rows, details } = await measureAll({ ...bench, folder });
    if (values.json) console.log(JSON.stringify({ rows: rows.map(withHeld), details }));
    else console.log(`\n${renderRows(rows)}`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

function withHeld(row: Row) {
  return { ...row, held: isHeld(row) };
}

function parseCount(option: string, text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1) throw new UserError('usage', `--${option} ${text} is no count`);
  return count;
}

function parseNames(texts: readonly string[]): Set<Name> {
  for (const text of texts) {
    if (!names.some((name) => name === text)) {
      throw new UserError('usage', `--only ${text} is not one of ${names.join(', ')}`);
    }
  }
  return new Set(texts.length === 0 ? names : (texts as Name[]));
}

function standardErrorLog(): Logger {
  const write = (message: string) => console.error(message);
  return { debug: () => undefined, info: write, warn: write, error: write };
}

async function measureAll(bench: Bench): Promise<{ rows: Row[]; details: object }> {
  const rows: Row[] = [];
  const details: Record<string, unknown> = {
    cores: availableParallelism(),
    load: loadavg()[0],
    rounds: bench.rounds,
  };
  const { only } = bench;
  if (only.has('index')) rows.push(...(await indexRows(bench)));
  if (only.has('points')) {
    const { rows: own, results } = await pointsRows({ ...bench, passphrase });
    rows.push(...own);
    details['points'] = results;
  }
  if (only.has('nbd')) {
    const result = await benchNbd({ rounds: Math.max(3, bench.rounds) });
    details['nbd'] = result;
    rows.push({
      item: `NBD client, ${formatBytes(result.dataBytes)}`,
      ...compared('nbdcopy', median(result.primaSeconds), median(result.nbdcopySeconds)),
      wanted: { atLeast: 0.8 },
    });
  }
  if (only.has('convert')) {
    const disk = await buildTestDisk({ log: bench.log });
    const folder = join(bench.folder, 'convert');
    await mkdir(folder);
    const results = await benchConvert({ folder, disk: disk.path, rounds: bench.rounds });
    details['convert'] = results;
    rows.push(...convertRows(results));
    bench.log.info(`\n${renderConversions(results)}`);
  }
  if (stages.some((stage) => only.has(stage)) || only.has('incremental')) {
    const disk = await buildTestDisk({ log: bench.log });
    bench.log.info(disk.facts.summary);
    const { entries, incrementals } = await raceDisk(bench, disk);
    details['disk'] = disk.facts;
    details['race'] = Object.fromEntries(entries);
    details['incremental'] = incrementals;
    rows.unshift(...raceRows(entries, disk, only), ...incrementalRows(incrementals));
    bench.log.info(`\n${renderEntries(entries)}`);
  }
  if (only.has('s3')) {
    const disk = await buildTestDisk({ log: bench.log });
    const folder = join(bench.folder, 's3');
    await mkdir(folder);
    const entries = await raceOnS3({ ...bench, folder, disk: disk.path, stages });
    details['s3'] = Object.fromEntries(entries);
    rows.push(...s3Rows(entries, disk));
    bench.log.info(`\n${renderEntries(entries)}`);
  }
  if (only.has('libvirt')) {
    const disk = await buildTestDisk({ log: bench.log, size: 'small' });
    const folder = join(bench.folder, 'libvirt');
    await mkdir(folder);
    const race = await raceOnLibvirt({ folder, disk: disk.path, rounds: bench.rounds, passphrase });
    details['libvirt'] = race;
    rows.push(...libvirtRows(race));
  }
  if (only.has('server')) {
    const { rows: served, result } = await serverRows({
      folder: join(bench.folder, 'server'),
      log: bench.log,
    });
    details['server'] = result;
    rows.push(...served);
  }
  return { rows, details };
}

/** Runs the race, and the incremental backups on top of Prima's repository of each round. */
async function raceDisk(bench: Bench, disk: TestDisk) {
  const { folder, rounds, only, log } = bench;
  const incrementals = new Map<number, IncrementalResult[]>([
    [4 * MiB, []],
    [64 * KiB, []],
  ]);
  const afterRound = async (name: string, own: string) => {
    if (name !== plain.name || !only.has('incremental')) return;
    for (const [runBytes, results] of incrementals) {
      const repository = join(own, 'repository');
      results.push(await benchIncremental(repository, disk.path, { passphrase, runBytes }));
    }
  };
  const wanted = stages.filter((stage): stage is Stage => only.has(stage));
  const entries = await race(contenders, {
    folder,
    rounds,
    disk: disk.path,
    stages: wanted,
    log,
    afterRound,
  });
  return { entries, incrementals: [...incrementals].map(([runBytes, results]) => ({ runBytes, results })) };
}

await main();
