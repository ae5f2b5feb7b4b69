/** Starting, stopping, suspending, resuming. Prima may die at any step; the next call finds what there is. */
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Logger, PrimaError, silentLogger, syncFolder, toPrimaError } from '@prima/base';
import {
  connectQmp,
  findMachineProcess,
  launchMachine,
  type MachineProcess,
  type QmpClient,
} from '@prima/qemu';
import type { MachineState, PowerAction, PowerOptions } from '../platform.ts';
import { commandLine } from './command-line.ts';
import { diskChains } from './disk-files.ts';
import { diskMode } from './disk-modes.ts';
import { finishLogs, prepareLogs } from './disk-stacks.ts';
import type { MachineConfig } from './machine-config.ts';
import { fileExists, type MachinePaths, makeRunFolder, runNames } from './machine-folder.ts';
import { withMachineLock } from './machine-lock.ts';
import { machineState, withControl } from './machine-state.ts';
import {
  finishMemoryFile,
  loadMemory,
  longestDowntimeMs,
  migrationDone,
  offerMemoryFile,
  startMigration,
} from './memory-stream.ts';
import { pollUntil, queryStatus, stepTimeoutMs } from './qemu-blocks.ts';
import { chooseRun, readRunRecord, writeRunRecord } from './run-record.ts';
import { undoLeftBackup } from './undo.ts';

export interface PowerRequest {
  paths: MachinePaths;
  config: MachineConfig;
  options: PowerOptions;
}

/** How long a guest may take to shut down before it is stopped hard. */
const stopTimeoutMs = 60_000;
const exitTimeoutMs = 30_000;

const actions: Record<PowerAction, (request: PowerRequest, state: MachineState) => Promise<void>> = {
  start,
  stop,
  kill,
  suspend,
  resume,
  pause,
  continue: goOn,
};

export async function power(request: PowerRequest, action: PowerAction): Promise<void> {
  const { state, notes } = await machineState(request.paths);
  if (state === 'unknown' && action !== 'kill') {
    const message = `the machine ${request.config.name} does not answer: ${notes.join('; ')}; kill ends it hard`;
    throw new PrimaError('state', message);
  }
  await actions[action](request, state);
}

async function start(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'running') return;
  if (state === 'paused') throw wrongState(request, 'started', 'it is paused; continue it');
  await withMachineLock(request.paths, 'a start', () => launch(request));
}

async function resume(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'running') return;
  if (state === 'paused') await goOn(request, state);
  else if (state === 'suspended') await start(request, state);
  else throw wrongState(request, 'resumed', 'it is off; start it');
}

/** Runs QEMU; where memory was saved, the machine goes on in it. Under the lock. */
async function launch({ paths, config, options }: PowerRequest): Promise<void> {
  const logger = options.logger ?? silentLogger;
  for (const text of await undoLeftBackup(paths)) logger.warn(text);
  const incoming = await fileExists(paths.memory);
  // saved memory goes on with the logs that it was saved with
  if (!incoming) await prepareLogs({ config, redo: options.redo, logger });
  const saved = incoming ? await readRunRecord(paths.memoryLaunch) : undefined;
  const { reason, ...run } = await chooseRun({ machineType: config.machineType, saved }, paths.folder);
  const choices = { ...run, chains: await diskChains(config), incoming };
  const args = commandLine(config, choices, paths.run);
  logger.info(`starting ${config.name} under ${run.accelerator} (${reason})`);
  await makeRunFolder(paths);
  const { qmp, process } = await launchMachine({
    runFolder: paths.run,
    arguments: args,
    monitor: runNames.control,
    ...(options.signal ? { signal: options.signal } : {}),
  });
  try {
    const { version } = qmp;
    await writeRunRecord(paths.launch, {
      version: 1,
      qemu: `${version.major}.${version.minor}.${version.micro}`,
      accelerator: run.accelerator,
      machineType: run.machineType,
      cpuModel: config.cpuModel,
      started: new Date().toISOString(),
      arguments: args,
    });
    if (incoming) await goOnInMemory(qmp, process, paths, options.signal);
  } finally {
    await qmp.close();
  }
}

async function goOnInMemory(
  qmp: QmpClient,
  process: MachineProcess,
  paths: MachinePaths,
  signal?: AbortSignal,
): Promise<void> {
  try {
    await loadMemory(qmp, paths.run, paths.memory, signal);
    // from here on the disks change: the saved memory must never be used with them again
    await removeMemory(paths);
  } catch (error) {
    await process.kill();
    throw error;
  }
  await qmp.execute('cont', undefined, { timeoutMs: exitTimeoutMs });
}

async function removeMemory(paths: MachinePaths): Promise<void> {
  await rm(paths.memory, { force: true });
  await rm(paths.memoryLaunch, { force: true });
  await syncFolder(paths.folder);
}

async function stop(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'off') return;
  await shutDown(request, state);
  await endRun(request);
}

/** What the disks' modes say of the end of a run. */
async function endRun({ paths, config, options }: PowerRequest): Promise<void> {
  if (config.disks.every(({ mode }) => diskMode(mode).kind === 'persistent')) return;
  const logger = options.logger ?? silentLogger;
  await withMachineLock(paths, 'the end of a run', async () => {
    if (await findMachineProcess(paths.run)) return; // started again since: the logs are that run's
    await finishLogs({ config, redo: options.redo, logger });
  });
}

async function shutDown(request: PowerRequest, state: MachineState): Promise<void> {
  const { paths, config, options } = request;
  if (state === 'suspended') throw wrongState(request, 'stopped', 'it is suspended; resume it, or kill it');
  const process = await findMachineProcess(paths.run);
  if (!process) return;
  const { timeoutMs = stopTimeoutMs, signal, logger = silentLogger } = options;
  if (state === 'paused') await goOn(request, state);
  await withControl(paths, (qmp) => qmp.execute('system_powerdown'));
  try {
    await process.waitForExit({ timeoutMs, ...(signal ? { signal } : {}) });
  } catch (error) {
    const failure = toPrimaError(error, `stopping ${config.name}`);
    if (failure.code !== 'timeout') throw failure;
    logger.warn(`${config.name} did not shut down within ${timeoutMs / 1000} s: it is switched off`);
    await switchOff(paths, process, logger);
  }
}

/** QEMU closes its disks in order; only when it does not answer either, it is killed. */
async function switchOff(paths: MachinePaths, process: MachineProcess, logger: Logger): Promise<void> {
  try {
    await withControl(paths, (qmp) => qmp.execute('quit', undefined, { timeoutMs: stepTimeoutMs }));
    await process.waitForExit({ timeoutMs: exitTimeoutMs });
  } catch (error) {
    logger.warn(`QEMU does not end by itself (${toPrimaError(error, 'asking').message}): it is killed`);
    await process.kill();
  }
}

/** Switches it off as pulling the plug does; of a suspended machine the memory goes. */
async function kill(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'off') return;
  await pullThePlug(request);
  await endRun(request);
}

async function pullThePlug({ paths, config, options }: PowerRequest): Promise<void> {
  const logger = options.logger ?? silentLogger;
  const process = await findMachineProcess(paths.run);
  if (process) await switchOff(paths, process, logger);
  else if (await fileExists(paths.memory)) {
    logger.warn(`the saved memory of ${config.name} is given up`);
    await withMachineLock(paths, 'giving saved memory up', () => removeMemory(paths));
  }
}

async function pause(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'paused') return;
  if (state !== 'running') throw wrongState(request, 'paused', `it is ${state}`);
  await withControl(request.paths, (qmp) => qmp.execute('stop'));
}

async function goOn(request: PowerRequest, state: MachineState): Promise<void> {
  const { paths } = request;
  if (state === 'running') return;
  if (state !== 'paused') throw wrongState(request, 'continued', `it is ${state}`);
  await withControl(paths, async (qmp) => {
    const status = await queryStatus(qmp);
    if (status === 'inmigrate') {
      const why =
        'its saved memory is being loaded; where that has died, kill it (the memory stays) and resume it';
      throw wrongState(request, 'continued', why);
    }
    await removeMemory(paths); // saved by a suspending that died: of no use once the disks change
    await qmp.execute('cont', undefined, { timeoutMs: stepTimeoutMs });
  });
}

async function suspend(request: PowerRequest, state: MachineState): Promise<void> {
  if (state === 'suspended') return;
  if (state !== 'running' && state !== 'paused') throw wrongState(request, 'suspended', `it is ${state}`);
  const { paths, config, options } = request;
  await withMachineLock(paths, 'suspending', async () => {
    const process = await findMachineProcess(paths.run);
    if (!process) throw wrongState(request, 'suspended', 'it has just ended');
    const part = `${paths.memory}.part`;
    await rm(part, { force: true });
    await undoLeftBackup(paths);
    await saveMemory(paths, { part, memoryBytes: config.memoryBytes, signal: options.signal });
    await switchOff(paths, process, options.logger ?? silentLogger);
  });
}

interface SaveOptions {
  part: string;
  memoryBytes: number;
  signal?: AbortSignal;
}

/** Has QEMU stop the machine and write its memory. When that fails, or QEMU is left alone, it goes on. */
async function saveMemory(paths: MachinePaths, { part, memoryBytes, signal }: SaveOptions): Promise<void> {
  await offerMemoryFile(paths.backup, part, memoryBytes);
  const qmp = await connectQmp(paths.backup, { signal });
  try {
    await startMigration(qmp, longestDowntimeMs);
    await migrationDone(qmp, { signal });
    await finishMemoryFile(part);
    const record = await readRunRecord(paths.launch);
    if (record) await writeRunRecord(paths.memoryLaunch, record);
    await rename(part, paths.memory);
    await syncFolder(dirname(paths.memory));
  } catch (error) {
    await goOnAfter(qmp);
    await rm(part, { force: true });
    throw error;
  } finally {
    await qmp.close();
  }
}

/** After a suspending that failed or was cancelled. */
async function goOnAfter(qmp: QmpClient): Promise<void> {
  await qmp.execute('migrate_cancel');
  await pollUntil('QEMU has ended saving the memory', exitTimeoutMs, async () => {
    return (await queryStatus(qmp)) !== 'finish-migrate';
  });
  if ((await queryStatus(qmp)) === 'postmigrate')
    await qmp.execute('cont', undefined, { timeoutMs: exitTimeoutMs });
}

function wrongState({ config }: PowerRequest, what: string, why: string): PrimaError {
  return new PrimaError('state', `${config.name} cannot be ${what}: ${why}`);
}
