/** Redo logs of a machine on a plain QEMU host: through QEMU while it runs, by ourselves while it does not. */
import {
  type Logger,
  PrimaError,
  type ProcessIdentity,
  silentLogger,
  systemClock,
  toPrimaError,
} from '@prima/base';
import type { AddOptions, RedoLog, RedoStack } from '@prima/formats';
import { connectQmp, type QmpClient } from '@prima/qemu';
import type {
  MachineLog,
  MachineState,
  RedoAddOptions,
  RedoCommitOptions,
  RedoDone,
  RedoResult,
  RedoSelection,
} from '../platform.ts';
import { describeDisks, logsOverMapping } from './disk-files.ts';
import { diskMode } from './disk-modes.ts';
import { diskStack } from './disk-stacks.ts';
import { pauseIntent, removeIntent, writeIntent } from './intent.ts';
import {
  commitLive,
  type LiveStack,
  openLogs,
  type PauseWindow,
  pauseWindow,
  settleAdded,
  switchToLogs,
} from './live-logs.ts';
import { type Agent, freezeFor, reachAgent } from './live-window.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';
import type { MachinePaths } from './machine-folder.ts';
import { lockMachine, type MachineLock } from './machine-lock.ts';
import { queryStatus, stepTimeoutMs, waitsForRoom } from './qemu-blocks.ts';
import { undoLeftBackup } from './undo.ts';

export interface RedoMachine {
  paths: MachinePaths;
  config: MachineConfig;
  state: MachineState;
}

export interface AddRequest extends RedoAddOptions {
  /** Default `asked`. */
  purpose?: RedoLog['purpose'];
  owner?: ProcessIdentity;
}

export async function addLogs(machine: RedoMachine, options: AddRequest): Promise<RedoResult> {
  return withLogs(machine, options, 'adding redo logs', (work) => work.add(options));
}

export async function commitLogs(machine: RedoMachine, options: RedoCommitOptions): Promise<RedoResult> {
  return withLogs(machine, options, 'merging redo logs', (work) => work.commit(options));
}

export async function discardLogs(machine: RedoMachine, options: RedoSelection): Promise<RedoResult> {
  const { state, config } = machine;
  if (state !== 'off') {
    const why =
      state === 'suspended'
        ? 'its saved memory goes with what they hold'
        : 'what it has read from them cannot be taken back';
    throw new PrimaError(
      'state',
      `the redo logs of ${config.name} cannot be discarded while it is ${state}: ${why}`,
    );
  }
  return withLogs(machine, options, 'discarding redo logs', (work) => work.discard());
}

/** Under the machine's lock, with what was left by a crash mended first. */
async function withLogs(
  machine: RedoMachine,
  options: RedoSelection,
  purpose: string,
  task: (work: LogWork) => Promise<RedoResult>,
): Promise<RedoResult> {
  const { paths, config, state } = machine;
  if (state === 'unknown') throw new PrimaError('state', `${config.name} does not answer`);
  const runs = state === 'running' || state === 'paused';
  const lock = await lockMachine(paths, { purpose, guardian: runs });
  try {
    const result = await task(await LogWork.begin(machine, { ...options, runs }));
    await lock.release();
    return result;
  } catch (error) {
    throw await giveUp(lock, toPrimaError(error, `${purpose} of ${config.name}`));
  }
}

/** The guardian looks what is left, and mends it. */
async function giveUp(lock: MachineLock, failure: PrimaError): Promise<PrimaError> {
  await lock.abandon();
  return failure;
}

/** One operation on the logs of some disks of one machine; the lock is held. */
export class LogWork {
  readonly #machine: RedoMachine;
  readonly #stacks: readonly LiveStack[];
  readonly #runs: boolean;
  readonly #logger: Logger;
  readonly #why: string[];

  private constructor(
    machine: RedoMachine,
    stacks: readonly LiveStack[],
    facts: { runs: boolean; logger: Logger; why: string[] },
  ) {
    this.#machine = machine;
    this.#stacks = stacks;
    this.#runs = facts.runs;
    this.#logger = facts.logger;
    this.#why = facts.why;
  }

  static async begin(machine: RedoMachine, options: RedoSelection & { runs: boolean }): Promise<LogWork> {
    const { paths, config } = machine;
    const { logger = silentLogger, runs } = options;
    for (const text of await undoLeftBackup(paths)) logger.warn(text);
    const why: string[] = [];
    const stacks: LiveStack[] = [];
    for (const disk of await selectDisks(config, options.disks, why))
      stacks.push({ disk, stack: await diskStack(disk) });
    return new LogWork(machine, stacks, { runs, logger, why });
  }

  async add({ purpose, owner, quiesce = true, signal }: AddRequest): Promise<RedoResult> {
    const request = { purpose: purpose ?? 'asked', ...(owner && { owner }) };
    const timing: Pick<RedoResult, 'frozenMs'> = {};
    if (this.#runs) await this.#withQmp((qmp) => this.#addLive(qmp, { ...request, quiesce, timing, signal }));
    else await this.#addCold({ ...request, signal });
    const done = this.#stacks.map(({ disk, stack }) => doneOf(disk, stack, stack.record.logs.at(-1)));
    return { done, ...timing, why: this.#why };
  }

  async commit(options: RedoCommitOptions): Promise<RedoResult> {
    const { level = 0, freeze = false, signal, onProgress } = options;
    const done: RedoDone[] = [];
    const timing: Pick<RedoResult, 'pausedMs'> = {};
    const withLogs = this.#stacks.filter(({ stack }) => stack.record.logs.length > level);
    if (withLogs.length === 0) {
      const what = this.#stacks
        .map(({ disk, stack }) => `${disk.slot} has ${stack.record.logs.length}`)
        .join(', ');
      throw new PrimaError(
        'not-found',
        `${this.#machine.config.name} has no redo log of level ${level} (${what || 'no disks'})`,
      );
    }
    const merge = async (live: LiveStack, task: () => Promise<number | undefined>) => {
      const { disk, stack } = live;
      const log = stack.record.logs.at(-1 - level);
      const bytes = await task();
      done.push({ ...doneOf(disk, stack, log), ...(bytes !== undefined && { bytes }) });
    };
    const report = (disk: DiskConfig) => (progress: Parameters<NonNullable<typeof onProgress>>[1]) =>
      onProgress?.(disk.slot, progress);
    if (!this.#runs) {
      for (const live of withLogs)
        await merge(
          live,
          async () => (await live.stack.commit(level, { signal, onProgress: report(live.disk) })).bytes,
        );
      return { done, why: this.#why };
    }
    await this.#withQmp(async (qmp) => {
      const window = this.#window(qmp, timing);
      if (freeze) await window.pause();
      for (const live of withLogs) {
        await merge(live, async () => {
          const inner = freeze ? alreadyPaused : window;
          await commitLive(qmp, live, { level, window: inner, signal, onProgress: report(live.disk) });
          return undefined;
        });
      }
      await window.resume(); // where that failed: the guardian, when it is on record what the guest writes to
      await this.#goOn(qmp);
    });
    return { done, ...timing, why: this.#why };
  }

  /** Merged logs are room that a guest may have been stopped for want of. */
  async #goOn(qmp: QmpClient): Promise<void> {
    if ((await queryStatus(qmp)) !== 'io-error') return;
    const { name } = this.#machine.config;
    if (await waitsForRoom(qmp)) {
      await qmp.execute('cont', undefined, { timeoutMs: stepTimeoutMs });
      this.#why.push(`QEMU had stopped ${name} because a disk had no room left; it goes on`);
    } else {
      this.#why.push(
        `${name} is still stopped after an I/O error of a disk; prima machine resume has it try again`,
      );
    }
  }

  async discard(): Promise<RedoResult> {
    const done: RedoDone[] = [];
    const withLogs = this.#stacks.filter(({ stack }) => stack.record.logs.length > 0);
    if (withLogs.length === 0)
      throw new PrimaError('not-found', `${this.#machine.config.name} has no redo logs`);
    for (const { disk, stack } of withLogs) done.push(doneOf(disk, stack, await stack.discard()));
    return { done, why: this.#why };
  }

  /** All disks or none. */
  async #addCold(request: AddOptions): Promise<void> {
    const added: RedoStack[] = [];
    try {
      for (const { stack } of this.#stacks) {
        await stack.beginAdd(request);
        added.push(stack);
      }
    } catch (error) {
      for (const stack of added) await stack.endAdd(false);
      throw error;
    }
    for (const stack of added) await stack.endAdd(true);
  }

  async #addLive(
    qmp: QmpClient,
    options: {
      purpose: RedoLog['purpose'];
      owner?: ProcessIdentity;
      quiesce: boolean;
      timing: { frozenMs?: number };
      signal?: AbortSignal;
    },
  ): Promise<void> {
    const { paths, state } = this.#machine;
    const reached: Agent =
      options.quiesce && state === 'running' ? await reachAgent(paths.agent, options.signal) : {};
    if (reached.why !== undefined) this.#why.push(`not quiesced: ${reached.why}`);
    try {
      await openLogs(qmp, this.#stacks, { ...options, runFolder: paths.run });
      if (reached.agent)
        await writeIntent(paths, pauseIntent(paths, { wasRunning: state === 'running', freezes: true }));
      const frozen = await freezeFor(reached.agent, this.#why, () => switchToLogs(qmp, this.#stacks));
      if (frozen !== undefined) options.timing.frozenMs = frozen;
    } finally {
      await reached.agent?.close();
      await settleAdded(qmp, this.#stacks);
      await removeIntent(paths);
    }
  }

  async #withQmp<T>(task: (qmp: QmpClient) => Promise<T>): Promise<T> {
    const qmp = await connectQmp(this.#machine.paths.backup);
    try {
      return await task(qmp);
    } finally {
      await qmp.close();
    }
  }

  #window(qmp: QmpClient, timing: { pausedMs?: number }): PauseWindow {
    const { paths, state } = this.#machine;
    let since = 0;
    return pauseWindow(qmp, {
      begin: async () => {
        await writeIntent(paths, pauseIntent(paths, { wasRunning: state === 'running', freezes: false }));
        since = systemClock.monotonic();
      },
      end: async () => {
        timing.pausedMs = (timing.pausedMs ?? 0) + systemClock.monotonic() - since;
        await removeIntent(paths);
        this.#logger.debug('the guest runs on');
      },
    });
  }
}

const alreadyPaused: PauseWindow = { pause: async () => undefined, resume: async () => undefined };

function doneOf(disk: DiskConfig, stack: RedoStack, log: RedoLog | undefined): RedoDone {
  if (!log) throw new PrimaError('internal', `${disk.slot} has no redo log`);
  const { id, purpose, made } = log;
  const found: MachineLog = { id, path: stack.pathOf(log), purpose, made };
  return { disk: disk.slot, log: found };
}

/** Raises `not-found` for a name that no disk has, `unsupported` for a named disk that can have no logs. */
async function selectDisks(
  config: MachineConfig,
  names: readonly string[] | undefined,
  why: string[],
): Promise<DiskConfig[]> {
  const described = await describeDisks(config);
  const all = described.flatMap((found, index) => {
    const disk = config.disks[index];
    return disk ? [{ disk, described: found }] : [];
  });
  for (const name of names ?? []) {
    if (all.some(({ described }) => described.name === name || described.slot === name)) continue;
    const known = all.map(({ described }) => `${described.name} (${described.slot})`).join(', ');
    throw new PrimaError('not-found', `${config.name} has no disk ${name}; it has ${known || 'none'}`);
  }
  const chosen = all.filter(
    ({ described }) =>
      names === undefined || names.includes(described.name) || names.includes(described.slot),
  );
  return chosen.flatMap(({ disk, described }) => {
    const reason =
      described.excluded ??
      (described.lun ? logsOverMapping : undefined) ??
      (diskMode(disk.mode).independent ? 'it is independent' : undefined);
    if (reason === undefined) return [disk];
    if (names !== undefined)
      throw new PrimaError(
        'unsupported',
        `${described.name} of ${config.name} can have no redo log: ${reason}`,
      );
    why.push(`${described.name} is left out: ${reason}`);
    return [];
  });
}
