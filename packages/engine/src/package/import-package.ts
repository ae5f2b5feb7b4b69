/** Makes a machine of a package on a host: invisible there until it is whole, and nothing left of it when it fails. */
import {
  type Logger,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import { copyDevice } from '@prima/block';
import type { Machine, Platform, RestoreTarget } from '@prima/platforms';
import type { Journal } from '../journal.ts';
import { dataBytes } from '../restore/space.ts';
import { type MachinePackage, openMachinePackage } from './machine-package.ts';

export interface ImportOptions {
  /** The machine's name there; default the one that the package says. */
  name?: string;
  /** Of an envelope with several machines: which. */
  system?: string;
  start?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface ImportedMachine {
  machine: Machine;
  /** What is not as the package says, for people. */
  notes: string[];
  disks: { name: string; path: string; size: number }[];
  bytesRead: number;
  bytesWritten: number;
}

/** Raises what opening the package does, `exists` where the name is taken, and what the host raises. */
export async function importPackage(
  path: string,
  platform: Platform,
  options: ImportOptions,
): Promise<ImportedMachine> {
  const { signal, logger = silentLogger, onProgress, system } = options;
  const doing = `importing ${path} into the host ${platform.name}`;
  const opened = await openMachinePackage(path, { system, signal, onProgress });
  try {
    await using entry = await options.journal.begin(doing, [{ kind: 'host', host: platform.name }]);
    const name = options.name ?? opened.description.name;
    const target = await prepare(opened, platform, { name, signal, logger });
    try {
      const imported = await fill(opened, target, { doing, options });
      throwIfAborted(signal, doing);
      await opened.verifyUnchanged();
      const machine = await target.commit({ start: options.start ?? false });
      await entry.end();
      return { ...imported, machine, notes: [...opened.notes, ...target.notes] };
    } catch (error) {
      const failure = toPrimaError(error, doing);
      await target.abort().catch((fault: unknown) => {
        logger.error(`cleaning up after ${doing}: ${toPrimaError(fault, 'cleaning up').message}`);
      });
      throw failure;
    }
  } finally {
    await opened.close();
  }
}

async function prepare(
  { configuration, description, disks }: MachinePackage,
  platform: Platform,
  { name, signal, logger }: { name: string; signal?: AbortSignal; logger: Logger },
): Promise<RestoreTarget> {
  return await platform.prepareRestore({
    id: description.uuid ?? '',
    name,
    files: [],
    foreign: configuration,
    disks: disks.map((disk) => ({
      slot: disk.slot,
      name: disk.name,
      size: disk.device.size,
      format: disk.format,
    })),
    dataBytes: await sumOf(disks, signal),
    signal,
    logger,
  });
}

async function sumOf(disks: MachinePackage['disks'], signal?: AbortSignal): Promise<number> {
  let bytes = 0;
  for (const { device } of disks) bytes += await dataBytes(device, signal);
  return bytes;
}

type Filled = Pick<ImportedMachine, 'disks' | 'bytesRead' | 'bytesWritten'>;

async function fill(
  { disks }: MachinePackage,
  target: RestoreTarget,
  { doing, options }: { doing: string; options: ImportOptions },
): Promise<Filled> {
  const { signal, onProgress } = options;
  const filled: Filled = { disks: [], bytesRead: 0, bytesWritten: 0 };
  for (const { name, slot, device } of disks) {
    const found = target.disks.find((disk) => disk.slot === slot);
    if (!found?.device)
      throw new UserError('unsupported', `${doing}: the host has no place for ${name} (${slot})`);
    const copied = await copyDevice(device, found.device, {
      signal,
      targetIsZero: true,
      onProgress: (progress) => onProgress?.(name, progress),
    });
    filled.bytesRead += copied.read;
    filled.bytesWritten += copied.written;
    filled.disks.push({ name, path: found.path, size: device.size });
  }
  return filled;
}
