/** What the race over one disk says: the rows that are held to figures, and everything that was run. */
import { formatBytes, MiB } from '@prima/base';
import { borg, prima, qemuImg, restic, zstd } from './contenders.ts';
import { type Entry, type Stage, stages } from './disk-race.ts';
import type { IncrementalResult } from './incremental.ts';
import { onS3 } from './on-s3.ts';
import type { ProgramRun } from './program-run.ts';
import { median, renderTable, type Row } from './results.ts';
import type { TestDisk } from './test-disk.ts';

export const plain = prima('prima', { readBack: true });
const unread = prima('prima, no read-back', { readBack: false });
export const contenders = [unread, restic, borg, zstd, plain, qemuImg];

function seconds(runs: readonly ProgramRun[] | undefined): number {
  return median((runs ?? []).map((run) => run.seconds));
}

/** How many times as fast as the peer. */
export function compared(peer: string, own: number, other: number) {
  return {
    prima: `${own.toFixed(2)} s`,
    peer,
    peerFigure: `${other.toFixed(2)} s`,
    value: other / own,
    unit: '× as fast',
  };
}

export function raceRows(
  entries: ReadonlyMap<string, Entry>,
  disk: TestDisk,
  only: ReadonlySet<string>,
): Row[] {
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
export function s3Rows(entries: ReadonlyMap<string, Entry>, disk: TestDisk): Row[] {
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

export function incrementalRows(all: readonly { runBytes: number; results: IncrementalResult[] }[]): Row[] {
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

/** Everything that was run, with processor time and memory. */
export function renderEntries(entries: ReadonlyMap<string, Entry>): string {
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
