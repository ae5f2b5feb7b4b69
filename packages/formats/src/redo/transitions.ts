/** What a record says before and after each step: pure, and the only place that changes one. */
import { basename } from 'node:path';
import { assert, PrimaError } from '@prima/base';
import type { RedoKind, RedoLog, RedoRecord } from './record.ts';

export function emptyRecord(disk: string, kind: RedoKind): RedoRecord {
  return { version: 1, disk: basename(disk), kind, logs: [] };
}

/** The name for one more log: the disk's and `.REDO`, once more for the next, that none has. */
export function nextLogName(record: RedoRecord): string {
  const taken = new Set(record.logs.map(({ files }) => files[0]));
  let name = `${record.disk}.REDO`;
  while (taken.has(name)) name += '.REDO';
  return name;
}

export function beginAdd(record: RedoRecord, log: RedoLog): RedoRecord {
  return { ...settled(record), doing: { do: 'add', log } };
}

/** @param counts false when the log was not used, and goes */
export function endAdd(record: RedoRecord, counts: boolean): RedoRecord {
  const { doing, ...rest } = record;
  assert(doing?.do === 'add', 'a log is being added');
  return counts ? { ...rest, logs: [...rest.logs, doing.log] } : rest;
}

export function beginCommit(record: RedoRecord, id: string): RedoRecord {
  return { ...settled(record), doing: { do: 'commit', id } };
}

export function beginDiscard(record: RedoRecord, id: string): RedoRecord {
  assert(record.logs.at(-1)?.id === id, 'only the top log is discarded');
  return { ...settled(record), doing: { do: 'discard', id } };
}

/** The log that was committed or discarded is gone. */
export function endRemoval(record: RedoRecord): RedoRecord {
  const { doing, ...rest } = record;
  assert(doing !== undefined && doing.do !== 'add', 'a log is going');
  return { ...rest, logs: rest.logs.filter(({ id }) => id !== doing.id) };
}

/** Where a log stands among the others. */
export interface LogPosition {
  log: RedoLog;
  /** The log beneath; undefined: the disk itself. */
  beneath?: RedoLog;
  above?: RedoLog;
}

export function positionOf(record: RedoRecord, id: string): LogPosition {
  const index = record.logs.findIndex((log) => log.id === id);
  const log = record.logs[index];
  assert(log !== undefined, `the record has the log ${id}`);
  return {
    log,
    ...(record.logs[index - 1] && { beneath: record.logs[index - 1] }),
    ...(record.logs[index + 1] && { above: record.logs[index + 1] }),
  };
}

/** The n-th log from the top. Raises `not-found`. */
export function logAtLevel(record: RedoRecord, level: number): RedoLog {
  const log = record.logs[record.logs.length - 1 - level];
  if (log) return log;
  const count = record.logs.length;
  const there =
    count === 0
      ? 'no redo logs'
      : `${count} redo ${count === 1 ? 'log' : 'logs'} (level 0${count > 1 ? ` to ${count - 1}` : ''})`;
  throw new PrimaError('not-found', `${record.disk} has ${there}, and none of level ${level}`);
}

function settled(record: RedoRecord): RedoRecord {
  assert(record.doing === undefined, 'what was begun before is finished first');
  return record;
}
