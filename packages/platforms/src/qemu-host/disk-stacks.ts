/** The redo logs of a machine's disks while it does not run: opened, mended after a crash, made for disk modes. */
import { basename } from 'node:path';
import { type Logger, PrimaError, toPrimaError } from '@prima/base';
import {
  cowdLogs,
  diskItself,
  isLogName,
  type LogKind,
  readRedoRecord,
  type RedoLog,
  RedoStack,
} from '@prima/formats';
import { mappingOpener, mappingPlace, qcow2Logs } from '@prima/qemu';
import type { RedoChoice } from '../platform.ts';
import { refuseBrittleCowd } from './brittle-cowd.ts';
import { formatOf, logsOverMapping, virtualSize } from './disk-files.ts';
import { diskMode, type ModeStep, stepsAfterRun, stepsBeforeRun } from './disk-modes.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';

/** Logs that were there before are of their kind; new ones are qcow2, which QEMU runs on. */
export async function diskStack(disk: DiskConfig): Promise<RedoStack> {
  const record = await readRedoRecord(disk.path);
  const path = await diskItself(disk.path);
  if (record?.kind === 'cowd')
    return RedoStack.open(path, { kind: cowdLogs({ openMapping: mappingOpener() }) });
  const format = await formatOf(disk);
  if (format === 'vmdk' && (await mappingPlace(path))) return RedoStack.open(path, { kind: noLogs });
  const size = await virtualSize(path, format);
  return RedoStack.open(path, { kind: qcow2Logs({ disk: path, format, size }) });
}

/** A running QEMU's logs name the file beneath them, and a mapped device has another name tomorrow. */
const noLogs: LogKind = {
  ...cowdLogs(),
  create: async () => {
    throw new PrimaError('unsupported', logsOverMapping);
  },
};

/** The disks that a crash left something of: a step half done, or the log of a backup that is over. */
export async function unsettledStacks(
  config: MachineConfig,
): Promise<{ disk: DiskConfig; stack: RedoStack }[]> {
  const found: { disk: DiskConfig; stack: RedoStack }[] = [];
  for (const disk of config.disks) {
    const record = await readRedoRecord(disk.path);
    if (!record) continue;
    if (!record.doing && !record.logs.some(isOrphan)) continue;
    found.push({ disk, stack: await diskStack(disk) });
  }
  return found;
}

/** The level of a log of a backup that is over: it goes. Undefined when there is none. */
export function orphanLevel({ record: { logs } }: RedoStack): number | undefined {
  const level = logs.toReversed().findIndex(isOrphan);
  return level < 0 ? undefined : level;
}

/** A backup holds the machine's lock for as long as it has logs: to who has the lock now, all of them are left over. */
function isOrphan({ purpose }: Pick<RedoLog, 'purpose'>): boolean {
  return purpose === 'backup';
}

/** Mends what a crash left, of a machine that does not run; under its lock. Sentences of what was done. */
export async function settleCold(config: MachineConfig): Promise<string[]> {
  const done: string[] = [];
  for (const { disk, stack } of await unsettledStacks(config)) {
    const said = (text: string) => `${basename(disk.path)}: ${text}`;
    done.push(...(await stack.settle()).map(said));
    for (let level = orphanLevel(stack); level !== undefined; level = orphanLevel(stack)) {
      const { log } = await stack.commit(level);
      done.push(said(`the redo log ${log.files[0]} of a backup that is over is merged`));
    }
  }
  return done;
}

export interface RunEdge {
  config: MachineConfig;
  redo?: RedoChoice;
  logger: Logger;
}

/** What the disks' modes ask for before a run; under the machine's lock. Raises `state`, `refused`. */
export async function prepareLogs({ config, redo, logger }: RunEdge): Promise<void> {
  for (const text of await settleCold(config)) logger.warn(text);
  const plans: { stack: RedoStack; steps: ModeStep[]; mode: string }[] = [];
  // nothing is done before all is known to be possible
  for (const disk of config.disks) {
    const mode = diskMode(disk.mode);
    const record = await readRedoRecord(disk.path);
    await refuseForeign(disk, record !== undefined);
    if (mode.kind === 'persistent') continue;
    const stack = await diskStack(disk);
    const name = `${basename(disk.path)} (${disk.slot})`;
    plans.push({ stack, mode: mode.kind, steps: stepsBeforeRun({ name, mode, left: modeLog(stack) }, redo) });
  }
  for (const plan of plans) await carryOut(plan, logger);
  for (const disk of config.disks) await refuseBrittleCowd(disk);
}

/** What the disks' modes ask for after a run; under the machine's lock. */
export async function finishLogs({ config, redo, logger }: RunEdge): Promise<void> {
  for (const disk of config.disks) {
    const mode = diskMode(disk.mode);
    if (mode.kind === 'persistent' || (await readRedoRecord(disk.path)) === undefined) continue;
    const stack = await diskStack(disk);
    const left = modeLog(stack);
    const steps = stepsAfterRun({ mode, left }, redo);
    await carryOut({ stack, steps, mode: mode.kind }, logger);
    if (mode.kind === 'nonpersistent' && left && steps.length === 0)
      logger.warn(
        `${basename(disk.path)} is nonpersistent now, but its redo log was not when it was made: it is kept`,
      );
  }
}

/** The mode's log is the lowest: what people add stands on it. */
function modeLog({ record: { logs } }: RedoStack): RedoLog | undefined {
  return logs.find(({ purpose }) => purpose === 'mode');
}

async function carryOut(
  { stack, steps, mode }: { stack: RedoStack; steps: readonly ModeStep[]; mode: string },
  logger: Logger,
): Promise<void> {
  for (const step of steps) {
    if (step === 'add') {
      await stack.add({ purpose: 'mode', mode });
      continue;
    }
    while (modeLog(stack)) {
      const [what, name] =
        step === 'discard' ? ['discarded', await discardTop(stack)] : ['merged', await commitTop(stack)];
      logger.info(`${basename(stack.disk)}: the redo log ${name} is ${what}`);
    }
  }
}

async function discardTop(stack: RedoStack): Promise<string> {
  return (await stack.discard()).files[0];
}

async function commitTop(stack: RedoStack): Promise<string> {
  return (await stack.commit(0)).log.files[0];
}

/**
 * A disk that is run without a log that belongs over it makes that log worthless. Logs that the record names are ours;
 * others beside the disk, of ESX or another tool, are not ours to use or to ignore.
 */
async function refuseForeign(disk: DiskConfig, hasRecord: boolean): Promise<void> {
  const stack = hasRecord ? await diskStack(disk) : undefined;
  const names = await (stack?.foreign() ?? foreignBeside(disk));
  const file = basename(await diskItself(disk.path));
  const logs = names.filter((name) => isLogName(name, file));
  if (logs.length === 0) return;
  throw new PrimaError(
    'refused',
    `${disk.path} has redo logs that Prima did not make: ${logs.join(', ')}. Running the disk without them would make them ` +
      'worthless: merge them with the tool that made them, or move them away if they are not wanted',
    { details: { path: disk.path, logs } },
  );
}

async function foreignBeside(disk: DiskConfig): Promise<string[]> {
  try {
    return await (await diskStack(disk)).foreign();
  } catch (error) {
    const { code } = toPrimaError(error, `looking at ${disk.path}`);
    if (code === 'not-found' || code === 'ambiguous' || code === 'format') return []; // the start says it better
    throw error;
  }
}
