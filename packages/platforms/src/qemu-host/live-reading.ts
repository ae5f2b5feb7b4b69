/** Hot and warm backups: a running machine's disks at one point in time, read over NBD from QEMU itself. */
import { join } from 'node:path';
import {
  type Logger,
  PrimaError,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  withShortSocketPath,
} from '@prima/base';
import { type BlockDevice, openRawFile } from '@prima/block';
import { connectNbd, type NbdDevice } from '@prima/nbd';
import { connectQmp, type QmpClient } from '@prima/qemu';
import { afterFailure } from '../after-failure.ts';
import type { ConfigFile, DiskReading, Machine, MachineReading, OpenForBackupOptions } from '../platform.ts';
import { describeDisks } from './disk-files.ts';
import { type BackupIntent, removeIntent, writeIntent } from './intent.ts';
import {
  checkpointOf,
  type LiveDisk,
  type LivePlan,
  makeScratch,
  planIntent,
  planLive,
  scratchFolder,
} from './live-plan.ts';
import { type Agent, prepareFilters, reachAgent, takePointInTime, type WindowResult } from './live-window.ts';
import type { MachineConfig } from './machine-config.ts';
import type { MachinePaths } from './machine-folder.ts';
import { lockMachine, type MachineLock } from './machine-lock.ts';
import { finishMemoryFile, migrationDone, offerMemoryFile } from './memory-stream.ts';
import { addNode, isRefusal, queryNodes, queryStatus, removeBitmap, stepTimeoutMs } from './qemu-blocks.ts';
import { bitmapPrefix } from './bitmaps.ts';
import { removeFiles, undoInMachine, undoLeftBackup } from './undo.ts';
import { viewDevice } from './view-device.ts';

export interface LiveRequest {
  paths: MachinePaths;
  machine: Machine;
  config: MachineConfig;
  mode: 'hot' | 'warm';
  options: OpenForBackupOptions;
  /** The machine's configuration files, for the point. */
  files: readonly ConfigFile[];
}

/** Opens a running machine. See `Platform.openForBackup`. */
export async function openLive(request: LiveRequest): Promise<MachineReading> {
  const { paths, mode } = request;
  const lock = await lockMachine(paths, { purpose: `a ${mode} backup`, guardian: true });
  const run = new LiveRun(request, lock);
  try {
    return await run.open();
  } catch (error) {
    const failure = toPrimaError(error, `opening the machine in ${paths.folder} for a ${mode} backup`);
    throw await run.giveUp(failure);
  }
}

/** One live backup, from the lock to its release. */
class LiveRun {
  readonly #request: LiveRequest;
  readonly #paths: MachinePaths;
  readonly #lock: MachineLock;
  readonly #logger: Logger;
  readonly #devices: BlockDevice[] = [];
  #qmp: QmpClient | undefined;
  #plan: LivePlan | undefined;
  #intent: BackupIntent | undefined;
  #succeeded = false;
  #closed: Promise<void> | undefined;

  constructor(request: LiveRequest, lock: MachineLock) {
    this.#request = request;
    this.#paths = request.paths;
    this.#lock = lock;
    this.#logger = request.options.logger ?? silentLogger;
  }

  async open(): Promise<MachineReading> {
    const { options, mode } = this.#request;
    const { signal } = options;
    for (const undone of await undoLeftBackup(this.#paths)) this.#logger.warn(undone);
    const disks = await describeDisks(this.#request.config);
    const first = await connectQmp(this.#paths.backup, { signal });
    this.#qmp = first;
    const running = await checkRunning(first, this.#paths, mode);
    const plan = await planLive({
      paths: this.#paths,
      disks,
      nodes: await queryNodes(first),
      options,
    });
    this.#plan = plan;
    const agent: Agent = mode === 'hot' && running ? await reachAgent(this.#paths.agent, signal) : {};
    let moment: WindowResult;
    let qmp: QmpClient;
    try {
      qmp = await this.#prepare(first, plan, { running, freezes: agent.agent !== undefined });
      throwIfAborted(signal, 'opening a machine for backup');
      moment = await takePointInTime({
        qmp,
        plan,
        running,
        logger: this.#logger,
        ...(agent.agent ? { agent: agent.agent } : {}),
        memory: mode === 'warm',
      });
    } finally {
      await agent.agent?.close();
    }
    await this.#leaveWindow();
    const memory = await this.#readMemory(qmp);
    const readings = await this.#exportDisks(qmp, plan);
    const why = [...plan.why, ...moment.why];
    if (mode === 'hot' && !running) why.push('not quiesced: the machine is paused');
    else if (mode === 'hot' && agent.why !== undefined) why.push(`not quiesced: ${agent.why}`);
    if (mode === 'warm') why.push('not quiesced: the point holds the memory, file systems need not be');
    return {
      ...moment,
      mode,
      why,
      disks: readings,
      skipped: plan.skipped,
      files: [...this.#request.files],
      checkpoint: checkpointOf(plan),
      ...(memory ? { memory } : {}),
      succeed: () => this.#succeed(),
      close: () => this.#close(),
    };
  }

  /** All that can be done before the guest notices anything; written down first. Answers the monitor to go on with. */
  async #prepare(
    qmp: QmpClient,
    plan: LivePlan,
    facts: { running: boolean; freezes: boolean },
  ): Promise<QmpClient> {
    const warm = this.#request.mode === 'warm';
    const memoryFile = warm
      ? join(scratchFolder(this.#paths, this.#request.options), `memory-${process.pid}-${Date.now()}`)
      : undefined;
    this.#intent = planIntent(this.#paths, plan, {
      wasRunning: facts.running,
      freezes: facts.freezes,
      migrates: warm,
      ...(memoryFile === undefined ? {} : { memoryFile }),
    });
    await writeIntent(this.#paths, this.#intent);
    for (const { names, strays } of plan.disks) {
      for (const name of strays) await removeBitmap(qmp, names.node, name);
    }
    await Promise.all(plan.disks.map(makeScratch));
    await startServer(qmp, this.#paths, this.#intent.nbdSocket);
    await prepareFilters(qmp, plan.disks);
    return memoryFile === undefined ? qmp : await this.#offerMemory(qmp, memoryFile);
  }

  /** A file is given to QEMU on a connection of its own, and the monitor takes one at a time. */
  async #offerMemory(qmp: QmpClient, memoryFile: string): Promise<QmpClient> {
    await qmp.close();
    await offerMemoryFile(this.#paths.backup, memoryFile, this.#request.machine.memoryBytes);
    this.#qmp = await connectQmp(this.#paths.backup, { signal: this.#request.options.signal });
    return this.#qmp;
  }

  async #leaveWindow(): Promise<void> {
    if (!this.#intent) return;
    this.#intent = { ...this.#intent, inWindow: false };
    await writeIntent(this.#paths, this.#intent);
  }

  async #readMemory(qmp: QmpClient): Promise<BlockDevice | undefined> {
    const path = this.#intent?.memoryFile;
    if (path === undefined) return undefined;
    await migrationDone(qmp, { signal: this.#request.options.signal });
    await finishMemoryFile(path);
    const device = await openRawFile(path);
    this.#devices.push(device);
    return device;
  }

  async #exportDisks(qmp: QmpClient, plan: LivePlan): Promise<DiskReading[]> {
    const readings: DiskReading[] = [];
    for (const live of plan.disks) {
      const device = await this.#exportDisk(qmp, live);
      const { disk, parent, names } = live;
      const view = viewDevice(device, live, this.#paths.run);
      if ('bitmap' in parent) {
        const changed = await device.dirtyRanges(names.frozenBitmap, undefined, this.#request.options.signal);
        readings.push({ disk, device: view, changed });
      } else readings.push({ disk, device: view, whyFull: parent.whyFull });
    }
    return readings;
  }

  async #exportDisk(qmp: QmpClient, { names, parent }: LiveDisk): Promise<NbdDevice> {
    await addNode(qmp, { driver: 'snapshot-access', 'node-name': names.viewNode, file: names.filterNode });
    const tracked = 'bitmap' in parent;
    await qmp.execute('block-export-add', {
      type: 'nbd',
      id: names.exportId,
      'node-name': names.viewNode,
      name: names.exportId,
      writable: false,
      bitmaps: tracked ? [{ node: names.node, name: names.frozenBitmap }] : [],
    });
    const device = await withShortSocketPath(this.#intent?.nbdSocket ?? '', (socketPath) =>
      connectNbd(
        { socketPath },
        {
          exportName: names.exportId,
          contexts: tracked ? [`qemu:dirty-bitmap:${names.frozenBitmap}`] : [],
          signal: this.#request.options.signal,
        },
      ),
    );
    this.#devices.push(device);
    return device;
  }

  async #succeed(): Promise<void> {
    if (!this.#qmp || !this.#plan) return;
    this.#succeeded = true;
    const prefix = bitmapPrefix(this.#request.options.owner);
    const nodes = await queryNodes(this.#qmp);
    for (const { names } of this.#plan.disks) {
      for (const { name, busy } of nodes.get(names.node)?.['dirty-bitmaps'] ?? []) {
        if (!name?.startsWith(prefix) || busy || name === names.newBitmap || name === names.frozenBitmap)
          continue;
        await removeBitmap(this.#qmp, names.node, name);
      }
    }
  }

  #close(): Promise<void> {
    this.#closed ??= this.#takeBack();
    return this.#closed;
  }

  async #takeBack(): Promise<void> {
    for (const device of this.#devices) await device.close();
    try {
      if (this.#intent) await this.#undo(this.#intent);
    } catch (error) {
      // the machine has ended, or does not answer: the guardian looks, and tries longer
      this.#logger.warn(`taking a backup back: ${toPrimaError(error, 'undoing').message}`);
      await this.#qmp?.close();
      await this.#lock.abandon();
      return;
    }
    await this.#qmp?.close();
    await this.#lock.release();
  }

  async #undo(intent: BackupIntent): Promise<void> {
    if (!this.#qmp) return;
    await undoInMachine(this.#qmp, this.#paths, intent, this.#succeeded ? 'keep' : 'discard');
    await removeFiles(intent);
    await removeIntent(this.#paths);
  }

  /** After a failure to open: everything back; the error to raise says it when that failed as well. */
  giveUp(failure: PrimaError): Promise<PrimaError> {
    return afterFailure(failure, 'taking a backup back', () => this.#close());
  }
}

/** Whether the machine runs; false when it is paused. Raises `state` where the mode does not fit. */
async function checkRunning(qmp: QmpClient, paths: MachinePaths, mode: 'hot' | 'warm'): Promise<boolean> {
  const status = await queryStatus(qmp);
  if (status === 'running') return true;
  if (status === 'paused' && mode === 'hot') return false;
  const message = `the machine in ${paths.folder} is ${status}; a ${mode} backup needs it running`;
  throw new PrimaError('state', message);
}

async function startServer(qmp: QmpClient, paths: MachinePaths, socket: string): Promise<void> {
  const addr = { type: 'unix', data: { path: socket.slice(paths.run.length + 1) } };
  try {
    await qmp.execute('nbd-server-start', { addr, 'max-connections': 64 }, { timeoutMs: stepTimeoutMs });
  } catch (error) {
    if (!isRefusal(error)) throw error;
    const reason = toPrimaError(error, 'starting the NBD server').message;
    const message = `the machine in ${paths.folder} cannot be read: ${reason}. QEMU has one NBD server; another tool may use it`;
    throw new PrimaError('busy', message, { cause: error, retryable: true });
  }
}
