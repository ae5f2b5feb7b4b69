/**
 * Measures Prima beside its peers on one disk and holds the results to the figures that are wanted; what is
 * measured and how to read it is in docs/operating/benchmarks.md.
 *
 * usage: npm run bench [-- [--rounds N] [--only NAME]… [--tebibytes N] [--json]]
 *        NAME: backup, unchanged, restore, incremental, s3, points, index, nbd, convert
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatBytes, KiB, type Logger, MiB, TiB, UserError } from '@prima/base';
import { ensureDebianPackages, packagesFor, testbedCache } from '@prima/testbed';
import { borg, prima, qemuImg, restic, zstd } from './contenders.ts';
import { benchConvert, convertRows, renderConversions } from './convert.ts';
import { type Entry, race, type Stage, stages } from './disk-race.ts';
import { benchIncremental, type IncrementalResult } from './incremental.ts';
import { pointsRows } from './many-points.ts';
import { benchNbd } from './nbd.ts';
import type { ProgramRun } from './program-run.ts';
import { onS3, raceOnS3 } from './on-s3.ts';
import { benchScale } from './scale.ts';
import { isHeld, median, renderRows, renderTable, type Row } from './results.ts';
import { buildTestDisk, type TestDisk } from './test-disk.ts';

const names = [...stages, 'incremental', 's3', 'points', 'index', 'nbd', 'convert'] as const;
type Name = (typeof names)[number];

const passphrase = 'not a secret: the benchmark';
const plain = prima('prima', { readBack: true });
const unread = prima('prima, no read-back', { readBack: false });
const contenders = [unread, restic, borg, zstd, plain, qemuImg];

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

function seconds(runs: readonly ProgramRun[] | undefined): number {
  return median((runs ?? []).map((run) => run.seconds));
}

/** How many times as fast as the peer. */
function compared(peer: string, own: number, other: number) {
  return {
    prima: `${own.toFixed(2)} s`,
    peer,
    peerFigure: `${other.toFixed(2)} s`,
    value: other / own,
    unit: '× as fast',
  };
}

function raceRows(entries: ReadonlyMap<string, Entry>, disk: TestDisk, only: ReadonlySet<Name>): Row[] {
  const time = (name: string, stage: Stage) => seconds(entries.get(name)?.runs[stage]);
  const faster = (item: string, stage: Stage, [own, peer, atLeast]: [string, string, number?]): Row => ({
    item,
    ...compared(peer, time(own, stage), time(peer, stage)),
    ...(atLeast === undefined ? {} : { wanted: { atLeast } }),
  });
  const zstdTime = (item: string, own: string, atMost: number): Row => ({
    item,
    prima: `${time(own, 'backup').toFixed(2)} s`,
    peer: zstd.name,
    peerFigure: `${time(zstd.name, 'backup').toFixed(2)} s`,
    value: time(own, 'backup') / time(zstd.name, 'backup'),
    wanted: { atMost },
    unit: '× the time',
  });
  const rows: Row[] = [];
  if (only.has('backup')) {
    const off = 'first backup, no read-back';
    const on = 'first backup, read-back';
    rows.push(
      faster(off, 'backup', [unread.name, restic.name, 3]),
      faster(off, 'backup', [unread.name, borg.name, 2]),
      zstdTime(off, unread.name, 1.1),
      faster(on, 'backup', [plain.name, restic.name, 2]),
      faster(on, 'backup', [plain.name, borg.name, 1.6]),
      zstdTime(on, plain.name, 1.5),
      faster(on, 'backup', [plain.name, qemuImg.name]),
      sizeRow(entries, restic.name, 1.1),
      sizeRow(entries, borg.name),
    );
  }
  if (only.has('unchanged')) {
    const rate = disk.facts.allocatedBytes / time(plain.name, 'unchanged') / 1e9;
    const item = 'backup, nothing changed, all read';
    const primaSeconds = `${time(plain.name, 'unchanged').toFixed(2)} s`;
    rows.push({ item, prima: primaSeconds, value: rate, unit: 'GB/s', wanted: { atLeast: 1.5 } });
    rows.push(faster(item, 'unchanged', [plain.name, restic.name]));
    rows.push(faster(item, 'unchanged', [plain.name, borg.name]));
  }
  if (only.has('restore')) {
    rows.push(faster('restore to a raw file', 'restore', [plain.name, restic.name, 3]));
    rows.push(faster('restore to a raw file', 'restore', [plain.name, borg.name, 2]));
    rows.push(faster('restore to a raw file', 'restore', [plain.name, qemuImg.name]));
  }
  for (const stage of stages) if (only.has(stage)) rows.push(memoryRow(stage, entries));
  return rows;
}

/** With read-back, and peers' own caches; the server takes processor time of its own from both. */
function s3Rows(entries: ReadonlyMap<string, Entry>, disk: TestDisk): Row[] {
  const time = (name: string, stage: Stage) => seconds(entries.get(name)?.runs[stage]);
  const row = (item: string, stage: Stage, atLeast?: number): Row => ({
    item,
    ...compared('restic', time(onS3.prima, stage), time(onS3.restic, stage)),
    ...(atLeast === undefined ? {} : { wanted: { atLeast } }),
  });
  const rate = disk.facts.allocatedBytes / time(onS3.prima, 'unchanged') / 1e9;
  return [
    row('S3: first backup, read-back', 'backup', 2),
    row('S3: nothing changed, all read', 'unchanged'),
    {
      item: 'S3: nothing changed, all read',
      prima: `${time(onS3.prima, 'unchanged').toFixed(2)} s`,
      value: rate,
      unit: 'GB/s',
      wanted: { atLeast: 1.5 },
    },
    row('S3: restore to a raw file', 'restore', 3),
  ];
}

function sizeRow(entries: ReadonlyMap<string, Entry>, peer: string, atMost?: number): Row {
  const size = (name: string) => median(entries.get(name)?.storedBytes ?? []);
  return {
    item: 'stored size',
    prima: formatBytes(size(plain.name)),
    peer,
    peerFigure: formatBytes(size(peer)),
    value: size(plain.name) / size(peer),
    unit: '× the size',
    ...(atMost === undefined ? {} : { wanted: { atMost } }),
  };
}

/** The most that any round took, not the median. */
function memoryRow(stage: Stage, entries: ReadonlyMap<string, Entry>): Row {
  const peak = (name: string) =>
    Math.max(...(entries.get(name)?.runs[stage] ?? []).map((run) => run.peakBytes));
  return {
    item: `peak memory, ${stage}`,
    prima: formatBytes(peak(plain.name)),
    peer: restic.name,
    peerFigure: formatBytes(peak(restic.name)),
    value: peak(plain.name) / MiB,
    unit: 'MiB',
    wanted: { atMost: 512 },
  };
}

function incrementalRows(all: readonly { runBytes: number; results: IncrementalResult[] }[]): Row[] {
  return all.flatMap(({ runBytes, results }) => {
    if (results.length === 0) return [];
    const of = (pick: (result: IncrementalResult) => number) => median(results.map(pick));
    const item = `64 MiB changed in runs of ${formatBytes(runBytes)}`;
    const read = formatBytes(of((result) => result.read));
    const written = formatBytes(of((result) => result.written));
    return [
      {
        item: `${item}: time beyond reading`,
        prima: `${read} read in ${of((result) => result.readSeconds).toFixed(2)} s`,
        value: of((result) => result.seconds - result.readSeconds),
        unit: 's',
        ...(runBytes === 4 * MiB ? { wanted: { atMost: 1 } } : {}),
      },
      {
        item: `${item}: metadata of what changed`,
        prima: `${written} written`,
        value: (of((result) => result.metadata) / (64 * MiB)) * 100,
        unit: '%',
        ...(runBytes === 4 * MiB ? { wanted: { atMost: 2 } } : {}),
      },
    ];
  });
}

/** `--only index`: the index and the pages of much unique data. */
async function indexRows({ folder, tebibytes, log }: Bench): Promise<Row[]> {
  const own = join(folder, 'scale');
  await mkdir(own);
  const result = await benchScale(own, tebibytes, log);
  await rm(own, { recursive: true });
  const item = `index of ${tebibytes} TiB of unique data`;
  const mebibytes = result.indexBytes / tebibytes / MiB;
  return [
    {
      item,
      prima: formatBytes(result.indexBytes),
      value: mebibytes,
      unit: 'MiB per TiB',
      wanted: { atMost: 40 },
    },
    {
      item: `${item}: opened`,
      prima: `${result.openSeconds.toFixed(1)} s`,
      value: result.openSeconds,
      unit: 's',
    },
    {
      item: `${item}: lookups`,
      prima: `${(result.lookupsPerSecond / 1e6).toFixed(1)} M/s`,
      value: result.lookupsPerSecond / 1e6,
      unit: 'M/s',
    },
    {
      item: `a disk of ${tebibytes} TiB: extents of 1 GiB`,
      prima: `${result.extentsRequests} requests, ${(result.extentsSeconds * 1000).toFixed(0)} ms`,
      value: result.extentsRequests,
      unit: 'requests',
    },
    {
      item: `${item}: in the store`,
      prima: formatBytes(result.metadataBytes),
      value: (result.metadataBytes / (tebibytes * TiB)) * 1e6,
      unit: 'ppm of the data',
    },
  ];
}

/** Everything that was run, with processor time and memory. */
function renderEntries(entries: ReadonlyMap<string, Entry>): string {
  const lines = [...entries].flatMap(([name, { runs, storedBytes }]) =>
    stages
      .filter((stage) => runs[stage].length > 0)
      .map((stage) => [
        stage,
        name,
        seconds(runs[stage]).toFixed(2),
        runs[stage].map((run) => run.seconds.toFixed(1)).join(' '),
        median(runs[stage].map((run) => run.cpuSeconds)).toFixed(1),
        formatBytes(Math.max(...runs[stage].map((run) => run.peakBytes))),
        stage === 'backup' ? formatBytes(median(storedBytes)) : '',
      ]),
  );
  const head = ['Stage', 'Program', 'Seconds', 'Each', 'Processor s', 'Memory', 'Stored'];
  return renderTable(
    head,
    lines.sort(([a = ''], [b = '']) => stages.indexOf(a as Stage) - stages.indexOf(b as Stage)),
  );
}

await main();
