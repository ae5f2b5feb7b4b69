/**
 * The redo logs of one disk, as a state machine (docs/format/redo-log.md). Each step may be cut off by a crash and done
 * again; at every moment the disk, read through all logs of its record, is what the guest saw last.
 *
 * `add`, `commit` and `discard` are for disks that nobody has open. For a running machine the steps around what QEMU
 * does are called one by one: `beginAdd` … `endAdd`, `beginCommit` … `endCommit`.
 */
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PrimaError, type ProcessIdentity, type Random, systemRandom, toPrimaError } from '@prima/base';
import { findDependants, isLogName } from './dependants.ts';
import type { LogKind, LogOptions, LogPlace, MergeOptions } from './log-kind.ts';
import { mergeLog, ownBytes } from './merge-log.ts';
import {
  parseRedoRecord,
  type RedoLog,
  type RedoPurpose,
  type RedoRecord,
  redoRecordPath,
  writeRedoRecord,
} from './record.ts';
import { diskItself, localRedoFolder, type RedoFolder } from './redo-folder.ts';
import {
  beginAdd,
  beginCommit,
  beginDiscard,
  emptyRecord,
  endAdd,
  endRemoval,
  logAtLevel,
  nextLogName,
  positionOf,
} from './transitions.ts';

export interface OpenStackOptions {
  /** How the disk's logs are made, read and merged. */
  kind: LogKind;
  folder?: RedoFolder;
  random?: Random;
}

export interface AddOptions extends LogOptions {
  /** Default `asked`. */
  purpose?: RedoPurpose;
  /** See `RedoLog.mode`. */
  mode?: string;
  owner?: ProcessIdentity;
}

export interface CommittedLog {
  log: RedoLog;
  /** Bytes that were written beneath. */
  bytes: number;
}

/** A log and the paths around it. */
export interface CommitPlan extends LogPlace {
  id: string;
  /** What stands on the log. */
  above?: string;
}

/** The record of a disk's logs, or undefined when there are none. Raises `format`. */
export async function readRedoRecord(disk: string, folder?: RedoFolder): Promise<RedoRecord | undefined> {
  const file = await diskItself(disk);
  const path = redoRecordPath(file);
  const text = await (folder ?? localRedoFolder(file)).read(basename(path));
  return text === undefined ? undefined : parseRedoRecord(text, path);
}

export class RedoStack {
  readonly disk: string;
  readonly #kind: LogKind;
  readonly #folder: RedoFolder;
  readonly #random: Random;
  #record: RedoRecord;

  private constructor(disk: string, record: RedoRecord, options: Required<OpenStackOptions>) {
    this.disk = disk;
    this.#record = record;
    this.#kind = options.kind;
    this.#folder = options.folder;
    this.#random = options.random;
  }

  /** Raises `format` for a record that cannot be read, or of another kind of log. */
  static async open(disk: string, options: OpenStackOptions): Promise<RedoStack> {
    const path = await diskItself(disk);
    const { kind, folder = localRedoFolder(path), random = systemRandom } = options;
    const record = (await readRedoRecord(path, folder)) ?? emptyRecord(path, kind.kind);
    if (record.kind !== kind.kind) {
      throw new PrimaError('state', `${path} has redo logs of the kind ${record.kind}, not ${kind.kind}`);
    }
    return new RedoStack(path, record, { kind, folder, random });
  }

  get record(): RedoRecord {
    return this.#record;
  }

  /** What is opened to see the disk as the guest does. */
  get top(): string {
    const { doing, logs } = this.#record;
    const gone = doing?.do === 'discard' ? doing.id : undefined;
    const top = logs.findLast(({ id }) => id !== gone);
    return top ? this.pathOf(top) : this.disk;
  }

  pathOf(log: RedoLog): string {
    return join(dirname(this.disk), log.files[0]);
  }

  /** Adds a log on top, for a disk that nobody has open. */
  async add(options: AddOptions = {}): Promise<RedoLog> {
    const log = await this.beginAdd(options);
    await this.endAdd(true);
    return log;
  }

  /** Merges the log of this level into what is beneath it, for a disk that nobody has open. */
  async commit(level: number, options: MergeOptions = {}): Promise<CommittedLog> {
    const plan = await this.beginCommit(level);
    const { log } = positionOf(this.#record, plan.id);
    return { log, bytes: await this.#merge(plan, options) };
  }

  /** Gives up what was written since the top log was added. */
  async discard(): Promise<RedoLog> {
    this.#mustBeSettled('discarded');
    const log = logAtLevel(this.#record, 0);
    await this.#refuseForeign([log.files[0]], 'discarding the log would take its disk away');
    await this.#save(beginDiscard(this.#record, log.id));
    await this.#removeLog(log);
    return log;
  }

  /** The record says that a log is coming, and the log is there, empty. */
  async beginAdd({ purpose = 'asked', mode, owner, signal }: AddOptions = {}): Promise<RedoLog> {
    this.#mustBeSettled('added');
    await mustBeFile(this.disk);
    if (this.#record.logs.length >= this.#kind.limit) {
      throw new PrimaError(
        'refused',
        `${this.disk} has ${this.#record.logs.length} redo logs, and ${this.#kind.limit} is the most for logs of the kind ` +
          `${this.#kind.kind}; commit one first`,
      );
    }
    const foreign = (await this.foreign()).filter((name) => isLogName(name, this.#record.disk));
    if (foreign.length > 0)
      throw this.#foreignError(foreign, 'what the disk holds now may be read through it');
    const log: RedoLog = {
      id: this.#random.uint32().toString(16).padStart(8, '0'),
      files: this.#kind.files(nextLogName(this.#record)),
      purpose,
      ...(mode !== undefined && { mode }),
      made: new Date().toISOString(),
      ...(owner && { owner }),
    };
    const beneath = this.top;
    await this.#save(beginAdd(this.#record, log));
    try {
      await this.#kind.create({ log: this.pathOf(log), beneath }, { signal });
    } catch (error) {
      await this.endAdd(false);
      throw toPrimaError(error, `adding a redo log to ${this.disk}`);
    }
    return log;
  }

  /** The log takes the writes from now on; or (`counts` false) nobody has used it, and it goes. */
  async endAdd(counts: boolean): Promise<void> {
    const { doing } = this.#record;
    if (!counts && doing?.do === 'add') await this.#folder.remove(doing.log.files);
    await this.#save(endAdd(this.#record, counts));
  }

  /** The record says that a log is being merged: from now on it can only be merged. */
  async beginCommit(level: number): Promise<CommitPlan> {
    const { doing } = this.#record;
    const { id } = doing?.do === 'commit' ? doing : logAtLevel(this.#record, level);
    if (doing?.do === 'commit' && logAtLevel(this.#record, level).id !== id) {
      throw new PrimaError(
        'state',
        `another redo log of ${this.disk} is half merged: ${this.#nameOf(id)}; commit that one first`,
      );
    }
    if (!doing) this.#mustBeSettled('committed');
    const plan = this.#planOf(id);
    const { beneath, log } = positionOf(this.#record, id);
    await this.#refuseForeign(
      [beneath?.files[0] ?? this.#record.disk, log.files[0]],
      'merging would change what it holds',
    );
    if (!doing) await this.#save(beginCommit(this.#record, id));
    return plan;
  }

  /**
   * What is beneath holds what the log held: the log goes.
   * @param options.moved what stands on the log was put over what is beneath already (by a running QEMU)
   */
  async endCommit(id: string, options: LogOptions & { moved?: boolean } = {}): Promise<void> {
    const plan = this.#planOf(id);
    const { log } = positionOf(this.#record, id);
    if (!options.moved) await this.#kind.close(plan, plan.above, options);
    await this.#removeLog(log);
  }

  /**
   * Finishes what a crash cut off, for a disk that nobody has open; sentences of what was found and done.
   * @param inUse whether a log that was being added is written to already (by a running QEMU)
   */
  async settle(
    options: MergeOptions & { inUse?: (log: RedoLog) => Promise<boolean> } = {},
  ): Promise<string[]> {
    const { doing } = this.#record;
    if (!doing) return [];
    if (doing.do === 'add') return [await this.#settleAdd(doing.log, options)];
    const { log } = positionOf(this.#record, doing.id);
    if (doing.do === 'discard') {
      await this.#removeLog(log);
      return [`the redo log ${log.files[0]} was being discarded: it is gone now`];
    }
    // only a name that is gone says so: a log that is damaged may hold the only copy of what it was to merge
    if (!(await this.#folder.names()).includes(log.files[0])) {
      await this.#removeLog(log);
      return [`the redo log ${log.files[0]} was merged already: the rest of it is gone now`];
    }
    await this.#merge(this.#planOf(log.id), options);
    return [`the redo log ${log.files[0]} was half merged: it is merged now`];
  }

  /** Files beside the disk that stand on it or look like its logs, and are not in the record. */
  async foreign(): Promise<string[]> {
    const { disk, logs, doing } = this.#record;
    const known = [...logs, ...(doing?.do === 'add' ? [doing.log] : [])];
    const own = new Set(known.flatMap(({ files }) => files));
    const names = (await this.#folder.names()).filter((name) => !own.has(name) && name !== disk);
    const parents = new Set([disk, ...known.map(({ files }) => files[0])]);
    const children = await findDependants(this.#folder.path, names, parents);
    const named = names.filter((name) => isLogName(name, disk));
    return [...new Set([...children.map(({ file }) => file), ...named])].sort();
  }

  /** Bytes that a log holds itself. */
  async bytesOf(log: RedoLog, signal?: AbortSignal): Promise<number> {
    const own = await this.#kind.own(this.pathOf(log), { signal });
    try {
      return await ownBytes(own, signal);
    } finally {
      await own.close();
    }
  }

  async #settleAdd(
    log: RedoLog,
    { inUse, signal }: LogOptions & { inUse?: (log: RedoLog) => Promise<boolean> },
  ): Promise<string> {
    const [name] = log.files;
    const whole = await this.#kind.isWhole(this.pathOf(log));
    const used = whole && (inUse ? await inUse(log) : (await this.bytesOf(log, signal)) > 0);
    await this.endAdd(used);
    return used
      ? `the redo log ${name} was being added and is in use: it counts`
      : `the redo log ${name} was being added and held nothing: it is gone`;
  }

  async #merge(plan: CommitPlan, options: MergeOptions): Promise<number> {
    const { signal } = options;
    let bytes: number;
    try {
      await using stack = new AsyncDisposableStack();
      const own = await this.#kind.own(plan.log, { signal });
      stack.defer(() => own.close());
      const beneath = await this.#kind.openBeneath(plan.beneath, { signal });
      stack.defer(() => beneath.close());
      bytes = await mergeLog(own, beneath, options);
    } catch (error) {
      const failure = toPrimaError(error, `merging ${plan.log} into ${plan.beneath}`);
      const what = `${failure.message}; the disk is whole through its log, which is half merged: commit it again`;
      throw new PrimaError(failure.code, what, { cause: failure, details: failure.details });
    }
    await this.endCommit(plan.id, { signal });
    return bytes;
  }

  #planOf(id: string): CommitPlan {
    const { log, beneath, above } = positionOf(this.#record, id);
    return {
      id,
      log: this.pathOf(log),
      beneath: beneath ? this.pathOf(beneath) : this.disk,
      ...(above && { above: this.pathOf(above) }),
    };
  }

  async #removeLog(log: RedoLog): Promise<void> {
    await this.#folder.remove(log.files);
    await this.#save(endRemoval(this.#record));
  }

  /** Without logs and without anything under way there is no record. */
  async #save(record: RedoRecord): Promise<void> {
    const name = basename(redoRecordPath(this.disk));
    if (record.logs.length === 0 && !record.doing) await this.#folder.remove([name]);
    else await this.#folder.replace(name, writeRedoRecord(record));
    this.#record = record;
  }

  #mustBeSettled(what: string): void {
    const { doing } = this.#record;
    if (!doing) return;
    const name = doing.do === 'add' ? doing.log.files[0] : this.#nameOf(doing.id);
    const found = { add: 'being added', commit: 'half merged', discard: 'being discarded' }[doing.do];
    const next = doing.do === 'commit' ? 'commit it first' : 'finish that first (prima disk redo list)';
    throw new PrimaError('state', `no redo log of ${this.disk} can be ${what}: ${name} is ${found}; ${next}`);
  }

  #nameOf(id: string): string {
    return positionOf(this.#record, id).log.files[0];
  }

  async #refuseForeign(parents: readonly string[], why: string): Promise<void> {
    const foreign = await this.foreign();
    const children = await findDependants(this.#folder.path, foreign, new Set(parents));
    const names = [
      ...new Set([
        ...children.map(({ file }) => file),
        ...foreign.filter((name) => isLogName(name, this.#record.disk)),
      ]),
    ];
    if (names.length > 0) throw this.#foreignError(names, why);
  }

  #foreignError(names: readonly string[], why: string): PrimaError {
    return new PrimaError(
      'refused',
      `${this.disk} has ${names.join(', ')} over it, which Prima did not make: ${why}. Commit or remove it with the tool ` +
        'that made it',
      { details: { foreign: names } },
    );
  }
}

/** Beside a block device is /dev: in memory, and gone with the next boot. */
async function mustBeFile(disk: string): Promise<void> {
  const found = await stat(disk).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the disk ${disk}`);
  });
  if (found.isFile()) return;
  throw new PrimaError(
    'unsupported',
    `${disk} is no file, and can have no redo logs: they lie beside the disk, and there they would be lost with the next boot`,
    { details: { path: disk } },
  );
}
