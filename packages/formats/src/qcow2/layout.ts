/**
 * Where everything goes in a qcow2 file that is written in one pass (docs/interop/qcow2.txt of QEMU): clusters of 64 KiB, 16-bit
 * reference counts, all tables in front, the data behind them in the order of the disk.
 *
 *   header · refcount table · refcount blocks · L1 table · L2 tables · data
 */
import type { Range } from '@prima/base';

export const clusterBytes = 65_536;
/** Entries of an L2 table, and of the refcount table and L1 table in each cluster. */
export const entriesPerCluster = clusterBytes / 8;
const refcountsPerBlock = clusterBytes / 2;

/** Clusters of the disk that follow each other, in the disk and in the file. */
export interface Run {
  /** Their first one's number in the disk, and in the file. */
  guest: number;
  host: number;
  count: number;
}

export interface Layout {
  /** Of the disk, bytes. */
  size: number;
  /** Ascending; what is in none reads as zeros. */
  runs: readonly Run[];
  /** Numbers of first clusters, and how many each has. */
  refcountTable: Range;
  refcountBlocks: Range;
  l1: Range;
  /** Entries of the L1 table. */
  l1Entries: number;
  /** Which parts of the disk (512 MiB each) have an L2 table, ascending, in the order of the tables. */
  tables: readonly number[];
  l2: Range;
  /** Of the file. */
  clusters: number;
}

/** @param data what the disk holds, ascending, not overlapping; bytes */
export function planLayout(size: number, data: Iterable<Range>): Layout {
  const runs = runsOf(data);
  const tables = [...tablesOf(runs)];
  const stored = runs.reduce((sum, { count }) => sum + count, 0);
  const l1Entries = Math.max(1, Math.ceil(size / clusterBytes / entriesPerCluster));
  const l1Clusters = Math.ceil(l1Entries / entriesPerCluster);
  const fixed = 1 + l1Clusters + tables.length + stored;
  let blocks = 0;
  let table = 0;
  for (;;) {
    const wantedBlocks = Math.ceil((fixed + blocks + table) / refcountsPerBlock);
    const wantedTable = Math.ceil(wantedBlocks / entriesPerCluster);
    if (wantedBlocks === blocks && wantedTable === table) break;
    [blocks, table] = [wantedBlocks, wantedTable];
  }
  let next = 1;
  const place = (length: number): Range => {
    const offset = next;
    next += length;
    return { offset, length };
  };
  const layout = {
    size,
    refcountTable: place(table),
    refcountBlocks: place(blocks),
    l1: place(l1Clusters),
    l1Entries,
    tables,
    l2: place(tables.length),
  };
  for (const run of runs) run.host = place(run.count).offset;
  return { ...layout, runs, clusters: next };
}

/** Data that touches a cluster takes all of it. */
function runsOf(data: Iterable<Range>): Run[] {
  const runs: Run[] = [];
  for (const { offset, length } of data) {
    if (length === 0) continue;
    const end = Math.ceil((offset + length) / clusterBytes);
    const last = runs.at(-1);
    const from = Math.max(Math.floor(offset / clusterBytes), last ? last.guest + last.count : 0);
    if (from >= end) continue;
    if (last && last.guest + last.count === from) last.count += end - from;
    else runs.push({ guest: from, host: 0, count: end - from });
  }
  return runs;
}

function* tablesOf(runs: readonly Run[]): Generator<number> {
  let last = -1;
  for (const { guest, count } of runs) {
    const first = Math.floor(guest / entriesPerCluster);
    const end = Math.floor((guest + count - 1) / entriesPerCluster);
    for (let table = Math.max(first, last + 1); table <= end; table += 1) {
      yield table;
      last = table;
    }
  }
}
