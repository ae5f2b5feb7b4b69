/**
 * The journal of running work: what is to be undone (or, once it is committed, done) should this process die. An intent is durable
 * before its side effect begins, and goes when the work has ended. At the next start the entries of
 * dead processes are undone, and what was done is said.
 *
 * One file an entry, `<id>.json` in the journal's folder:
 * `{version, id, what, begun, owner: {host, boot, pid, pidStart}, undo: [{kind, …}]}`.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  FormatError,
  type Logger,
  liveness,
  ownIdentity,
  type ProcessIdentity,
  removeOldTemporaries,
  replaceFile,
  syncFolder,
  systemErrorCode,
  temporaryPrefix,
  toPrimaError,
} from '@prima/base';
import { doFileStep, type FileStep, isFileStep, recoverFileStep } from './file-steps.ts';
import { namesIn, removeEmptyFolder, removeTemporary } from './undo.ts';

/** What undoes one side effect. Doing it twice, or when nothing is there, is harmless. */
export type Undo =
  /**
   * A temporary file or folder, whose name begins with `.tmp-`; and `published`, the name it was about to
   * get, where that is still the same file: a half published set is taken back.
   */
  | { kind: 'temporary'; path: string; published?: string }
  /** A folder that was made; goes when it is empty. */
  | { kind: 'folder'; path: string }
  /** A host on whose machines something was begun; its platform knows what. */
  | { kind: 'host'; host: string }
  /** A folder of our own with machines in it that nobody else knows of: they are stopped, and it goes. */
  | { kind: 'private-host'; folder: string }
  /** What is done rather than undone, see `commit`; or what takes one such step back. */
  | FileStep;

interface JournalRecord {
  version: 1;
  id: string;
  what: string;
  begun: string;
  owner: ProcessIdentity;
  undo: Undo[];
}

export interface JournalOptions {
  logger: Logger;
  /** Undoes what was left on a host; answers what it did. Raises when it could not. */
  recoverHost: (host: string) => Promise<string[]>;
  /** Stops the machines in a folder and removes it; answers what it did. Checks that the folder is ours. */
  removePrivateHost: (folder: string) => Promise<string[]>;
}

/** One piece of work. */
export interface JournalEntry extends AsyncDisposable {
  readonly id: string;
  /** Records, durably, what will undo the side effect that comes next. */
  intend(undo: Undo): Promise<void>;
  /**
   * From here on there is no way back: whatever happens, these steps are done, in this order, in place of all that would
   * have undone what was intended so far. Then the entry goes. Raises what kept a step from being done; it is tried again
   * at the next start.
   */
  commit(steps: readonly FileStep[]): Promise<void>;
  /** The same in the middle of the work: what comes after may be undone again, what was intended before is no more. */
  carryOut(steps: readonly FileStep[]): Promise<void>;
  /** Undoes what was intended, newest first: for work that failed or was cancelled. Then the entry goes. */
  undo(): Promise<void>;
  /** The work has ended well, or has cleaned up after itself: the entry goes. Again does nothing. */
  end(): Promise<void>;
}

/** What one recovery found. */
export interface RecoveryReport {
  /** A sentence for each thing undone. */
  undone: string[];
  /** A sentence for each thing that could not be undone now; tried again at the next start. */
  left: string[];
}

export class Journal {
  readonly #folder: string;
  readonly #options: JournalOptions;

  /** @param folder made at the first entry, mode 0700 */
  constructor(folder: string, options: JournalOptions) {
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * Begins an entry, durably.
   * @param what for people: "restoring web01 to /srv/restore"
   */
  async begin(what: string, undo: readonly Undo[] = []): Promise<JournalEntry> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const record: JournalRecord = {
      version: 1,
      id: randomBytes(8).toString('hex'),
      what,
      begun: new Date().toISOString(),
      owner: await ownIdentity(),
      undo: [...undo],
    };
    const path = join(this.#folder, `${record.id}.json`);
    const write = () => replaceFile(path, `${JSON.stringify(record, undefined, 1)}\n`);
    await write();
    let ended = false;
    const end = async () => {
      if (ended) return;
      ended = true;
      await removeDurably(path, this.#folder);
    };
    const carryOut = async (steps: readonly FileStep[]) => {
      record.undo = steps.toReversed();
      await write();
      for (const step of steps) await doFileStep(step);
    };
    return {
      id: record.id,
      intend: async (next) => {
        record.undo.push(next);
        await write();
      },
      commit: async (steps) => {
        await carryOut(steps);
        await end();
      },
      carryOut: async (steps) => {
        await carryOut(steps);
        record.undo = [];
        await write();
      },
      undo: async () => {
        if (ended) return;
        const { left } = await this.#undo(record);
        if (left.length === 0) await end();
      },
      end,
      [Symbol.asyncDispose]: end,
    };
  }

  /**
   * Undoes what dead processes left. Entries of living processes, and of other hosts, are left alone.
   * Several processes may do this at once.
   */
  async recover(): Promise<RecoveryReport> {
    const report: RecoveryReport = { undone: [], left: [] };
    await removeOldTemporaries(this.#folder);
    for (const name of await namesIn(this.#folder)) {
      const path = join(this.#folder, name);
      if (!/^[0-9a-f]+\.json$/.test(name)) continue;
      const record = await this.#read(path, report);
      if (record === undefined || (await liveness(record.owner)) !== 'dead') continue;
      const { undone, left } = await this.#undo(record);
      report.undone.push(...undone);
      report.left.push(...left);
      if (left.length === 0) await removeDurably(path, this.#folder);
    }
    for (const text of report.undone) this.#options.logger.info(text);
    for (const text of report.left) this.#options.logger.warn(text);
    return report;
  }

  async #read(path: string, report: RecoveryReport): Promise<JournalRecord | undefined> {
    let text: string;
    try {
      text = await readFile(path, 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return undefined; // its work has ended meanwhile
      throw toPrimaError(error, `reading the journal ${path}`);
    }
    try {
      return parseRecord(text, path);
    } catch (error) {
      if (!(error instanceof FormatError)) throw error;
      await rename(path, `${path}.damaged`);
      report.left.push(`${error.message}; it was moved to ${path}.damaged, what it names is not undone`);
      return undefined;
    }
  }

  async #undo(record: JournalRecord): Promise<RecoveryReport> {
    const report: RecoveryReport = { undone: [], left: [] };
    const since = `${record.what} (begun ${record.begun}) did not end`;
    for (const undo of record.undo.toReversed()) {
      try {
        const done = await this.#undoOne(undo);
        report.undone.push(...done.map((text) => `${since}: ${text}`));
      } catch (error) {
        const { message } = toPrimaError(error, `undoing ${JSON.stringify(undo)}`);
        report.left.push(`${since}, and could not be undone: ${message}`);
      }
    }
    return report;
  }

  #undoOne(undo: Undo): Promise<string[]> {
    if (undo.kind === 'temporary') return removeTemporary(undo.path, undo.published);
    if (undo.kind === 'folder') return removeEmptyFolder(undo.path);
    if (undo.kind === 'private-host') return this.#options.removePrivateHost(undo.folder);
    if (undo.kind === 'host') return this.#options.recoverHost(undo.host);
    return recoverFileStep(undo);
  }
}

async function removeDurably(path: string, folder: string): Promise<void> {
  await rm(path, { force: true });
  await syncFolder(folder);
}

/** Raises `format`; checks what undoing relies on, so that a damaged journal removes nothing else. */
function parseRecord(text: string, path: string): JournalRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`the journal ${path} is not JSON`, { cause: error });
  }
  const record = value as Partial<JournalRecord> | null;
  const sound =
    record?.version === 1 &&
    typeof record.what === 'string' &&
    typeof record.owner?.pid === 'number' &&
    typeof record.owner.boot === 'string' &&
    Array.isArray(record.undo) &&
    record.undo.every(isUndo);
  if (!sound) throw new FormatError(`the journal ${path} is damaged or of another version`);
  return record as JournalRecord;
}

function isUndo(value: unknown): value is Undo {
  if (isFileStep(value)) return true;
  const undo = value as Record<string, unknown> | null;
  if (undo?.['kind'] === 'host') return typeof undo['host'] === 'string';
  if (undo?.['kind'] === 'private-host') return typeof undo['folder'] === 'string';
  const path = undo?.['path'];
  if (typeof path !== 'string') return false;
  const temporary = undo?.['kind'] === 'temporary' && basename(path).startsWith(temporaryPrefix);
  return temporary || undo?.['kind'] === 'folder';
}
