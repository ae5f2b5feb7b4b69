/**
 * The record of a disk's redo logs (docs/format/redo-log.md): which logs there are, and what is being done to them. It
 * lies beside the disk as `DISK.redo.json`.
 */
import { basename } from 'node:path';
import { FormatError, type ProcessIdentity } from '@prima/base';

const redoKinds = ['cowd', 'qcow2'] as const;
export type RedoKind = (typeof redoKinds)[number];

/** Why a log is there: a person asked for it, the disk's mode wants it, or a backup, which takes it away again. */
const redoPurposes = ['asked', 'mode', 'backup'] as const;
export type RedoPurpose = (typeof redoPurposes)[number];

export interface RedoLog {
  /** Eight hexadecimal digits, never used twice. */
  id: string;
  /** Names beside the disk; the first is what is opened. */
  files: readonly [string, ...string[]];
  purpose: RedoPurpose;
  /** The disk mode that wanted it, of `purpose` mode: what it was promised when it was added. */
  mode?: string;
  /** When it was added, ISO 8601. */
  made: string;
  /** The process of a backup. */
  owner?: ProcessIdentity;
}

export type RedoStep =
  | { do: 'add'; log: RedoLog }
  | { do: 'commit'; id: string }
  | { do: 'discard'; id: string };

export interface RedoRecord {
  version: 1;
  /** The disk's file name. */
  disk: string;
  kind: RedoKind;
  /** Bottom up: the last one takes the writes. */
  logs: readonly RedoLog[];
  doing?: RedoStep;
}

const suffix = '.redo.json';
const idPattern = /^[0-9a-f]{8}$/;
const mostLogs = 64;

export function redoRecordPath(disk: string): string {
  return disk + suffix;
}

export function isRedoRecord(name: string): boolean {
  return name.endsWith(suffix);
}

export function writeRedoRecord(record: RedoRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`;
}

/** Raises `format` with what is wrong. */
export function parseRedoRecord(text: string, path: string): RedoRecord {
  const wrong = (what: string) =>
    new FormatError(`${path} is no record of redo logs that Prima knows: ${what}`, { details: { path } });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${path} is not JSON`, { cause: error, details: { path } });
  }
  const record = value as Partial<RedoRecord> | null;
  if (record === null || typeof record !== 'object' || record.version !== 1)
    throw wrong('its version is not 1');
  if (!isPlainName(record.disk) || redoRecordPath(record.disk) !== basename(path))
    throw wrong('it is named after another disk');
  if (!redoKinds.some((kind) => kind === record.kind)) throw wrong('the kind of its logs is unknown');
  if (!Array.isArray(record.logs) || record.logs.length > mostLogs) throw wrong('its logs are no list');
  const { doing } = record;
  const logs: unknown[] = [...record.logs, ...(doing?.do === 'add' ? [doing.log] : [])];
  if (!logs.every(isLog)) throw wrong('a log without id, files, purpose or time');
  if (new Set(logs.map(({ id }) => id)).size !== logs.length) throw wrong('two logs have one id');
  if (doing !== undefined && !isStep(doing, record.logs))
    throw wrong('what is being done names no log of it');
  return record as RedoRecord;
}

function isLog(value: unknown): value is RedoLog {
  const log = value as Partial<RedoLog> | null;
  if (log === null || typeof log !== 'object') return false;
  const { id, files, purpose, mode, made } = log;
  return (
    typeof id === 'string' &&
    idPattern.test(id) &&
    Array.isArray(files) &&
    files.length > 0 &&
    files.length < 16 &&
    files.every(isPlainName) &&
    redoPurposes.some((known) => known === purpose) &&
    (mode === undefined || typeof mode === 'string') &&
    typeof made === 'string'
  );
}

function isStep(step: RedoStep, logs: readonly RedoLog[]): boolean {
  if (step.do === 'add') return isLog(step.log);
  return (step.do === 'commit' || step.do === 'discard') && logs.some(({ id }) => id === step.id);
}

/** A name beside the disk: nothing in a record leads out of its folder. */
function isPlainName(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value !== '.' && value !== '..' && !/[/\0]/.test(value);
}
