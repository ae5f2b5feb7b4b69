/** Redo logs of a disk file by itself, without a machine: nobody may have it open. */
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Logger, PrimaError, silentLogger, statIfThere, toPrimaError } from '@prima/base';
import {
  type DiskFormat,
  explainFormat,
  isDiskFormat,
  openVmdk,
  readRedoRecord,
  RedoStack,
  cowdLogs,
} from '@prima/formats';
import { mappingOpener, qcow2Logs } from '@prima/qemu';
import { isOpenForWriting } from '../backup/file-in-use.ts';
import { openDiskFile } from '../disk/open-disk.ts';
import { acquireLock } from '../lock.ts';

export type { RedoLog, RedoStack } from '@prima/formats';

export interface DiskLogsOptions {
  /** Its format, where name and content do not tell it. */
  format?: string;
  /** Where lock files go. */
  lockFolder: string;
  logger?: Logger;
  signal?: AbortSignal;
}

/**
 * Raises `state` where a suspended machine of a plain QEMU host has the disk: its saved memory goes with what the logs hold, so that
 * nothing of them may be given up without it.
 */
export async function mustNotBeSuspended({ disk }: RedoStack): Promise<void> {
  const memory = join(dirname(disk), 'machine.memory');
  if (!(await statIfThere(memory))) return;
  throw new PrimaError(
    'state',
    `${disk} belongs to a machine that is suspended (${memory}): its memory goes with what the redo logs hold. Resume it and stop it, or ` +
      'give its memory up (prima machine stop --hard)',
    { details: { path: disk } },
  );
}

/** Runs `task` on the disk's logs, with what a crash left mended first. Raises `busy` while somebody has the disk open. */
export async function withDiskLogs<T>(
  path: string,
  options: DiskLogsOptions,
  task: (stack: RedoStack) => Promise<T>,
): Promise<T> {
  const { lockFolder, logger = silentLogger, signal } = options;
  const disk = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the disk ${path}`);
  });
  const name = createHash('sha256').update(disk).digest('hex').slice(0, 24);
  await using _lock = await acquireLock(join(lockFolder, `redo-${name}.lock`), `redo logs of ${disk}`);
  const stack = await openStack(disk, options);
  await mustBeClosed(stack);
  for (const text of await stack.settle({ signal })) logger.warn(text);
  return await task(stack);
}

/** The disk's logs as they are, without changing anything. */
export async function lookAtDiskLogs(
  path: string,
  options: Pick<DiskLogsOptions, 'format'>,
): Promise<RedoStack> {
  const disk = await realpath(path).catch((error: unknown) => {
    throw toPrimaError(error, `looking for the disk ${path}`);
  });
  return openStack(disk, options);
}

/** Logs of ours over a raw device mapping are, as on ESX, COWD extents: they name the mapping, not the device. */
const cowd = cowdLogs({ openMapping: mappingOpener() });

async function openStack(disk: string, { format }: Pick<DiskLogsOptions, 'format'>): Promise<RedoStack> {
  const record = await readRedoRecord(disk);
  if (record?.kind === 'cowd') return RedoStack.open(disk, { kind: cowd });
  const known = await formatOf(disk, format);
  if (record === undefined && known === 'vmdk' && (await canHaveCowd(disk)))
    return RedoStack.open(disk, { kind: cowd });
  const { device } = await openDiskFile(disk, { format: known, option: '--format' });
  const { size } = device;
  await device.close();
  return RedoStack.open(disk, { kind: qcow2Logs({ disk, format: known, size }) });
}

async function formatOf(disk: string, format: string | undefined): Promise<DiskFormat> {
  if (format === undefined) return (await explainFormat(disk)).format;
  if (isDiskFormat(format)) return format;
  throw new PrimaError('usage', `"${format}" is not a disk format`);
}

/** A COWD log names its parent's CID, and ends below 2 TiB. */
async function canHaveCowd(disk: string): Promise<boolean> {
  const { device, info } = await openVmdk(disk, { parents: false, openMapping: mappingOpener() });
  await device.close();
  return info.descriptor !== undefined && info.createType !== 'streamOptimized' && info.capacity < 2 ** 41;
}

async function mustBeClosed(stack: RedoStack): Promise<void> {
  for (const path of [stack.disk, ...stack.record.logs.map((log) => stack.pathOf(log))]) {
    const file = await statIfThere(path); // gone: that is said where it is opened
    if (!file || !(await isOpenForWriting(file))) continue;
    throw new PrimaError(
      'busy',
      `${path} is open for writing in a running QEMU; name its machine (HOST/MACHINE), or stop it first`,
      { details: { path } },
    );
  }
}
