/** Restores a point as a machine on a host: invisible there until it is whole. */
import {
  type Logger,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import { copyDevice, type CopyOptions, type CopyResult, type WritableDevice } from '@prima/block';
import type { Machine, Platform, RestoreTarget } from '@prima/platforms';
import type { Point, PointDevice, PointDisk, Repository } from '@prima/repository';
import type { Journal } from '../journal.ts';
import { DamageLog, type DamagedRange } from './damage-log.ts';
import { hostRequest } from './host-request.ts';
import { findLuns, type LunChoice, lunNotes, writeLun } from './luns.ts';
import { plannedDisks } from './plan.ts';
import { neededBytes } from './space.ts';

export interface RestoreToHostOptions {
  /** The machine's name there; default the one it had. */
  as?: string;
  /** The host's storage pool that all disks go to. */
  pool?: string;
  /** The format that all disks get there. */
  format?: 'raw' | 'qcow2';
  /** From the network that a card was on to one of the host, or to `none`. */
  networks?: Readonly<Record<string, string>>;
  /** Take the place of the machine of that name, which is off and keeps its identity. */
  replace?: boolean;
  /** With `replace`: only this disk, by its name or number. */
  disk?: string;
  /** Run it, or let it go on where its memory was taken. */
  start?: boolean;
  /** Go on where a disk cannot be read: with zeros, which the result lists. */
  allowDamaged?: boolean;
  /** Disks that were devices stand for these again. Default: they become ordinary disks. */
  luns?: LunChoice;
  journal: Journal;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface HostRestore {
  machine: Machine;
  files: { disk: string; path: string; size: number }[];
  notes: string[];
  bytesRead: number;
  bytesWritten: number;
  damaged: DamagedRange[];
}

/**
 * Restores `point` to `platform`. Raises `unsupported` for the point of a bare disk, `exists` when a machine of
 * that name is there; on failure and cancellation nothing is left on the host.
 */
export async function restoreToHost(
  repository: Repository,
  point: Point,
  platform: Platform,
  options: RestoreToHostOptions,
): Promise<HostRestore> {
  const { signal, logger = silentLogger } = options;
  const doing = `restoring ${point.machine.name} to the host ${platform.name}`;
  throwIfAborted(signal, doing);
  const luns = options.luns && (await findLuns(point.disks, options.luns, signal));
  const asked = await hostRequest(repository, point, { ...options, found: luns });
  const disks = plannedDisks(point, options);
  const memory = options.disk === undefined ? point.memory : undefined;
  const copied = [...disks, ...(memory ? [memory] : [])].filter(({ name }) => !luns?.has(name));
  const silent = new DamageLog(options.allowDamaged ?? false); // damage is said when it is copied
  const dataBytes = await neededBytes({ repository, point, damage: silent }, copied, signal);
  const request = { ...asked, dataBytes };
  await using entry = await options.journal.begin(doing, [{ kind: 'host', host: platform.name }]);
  const target = await platform.prepareRestore(request);
  try {
    const told = target.notes.length;
    for (const note of target.notes) logger.info(note);
    const result = { files: [] as HostRestore['files'], notes: target.notes, bytesRead: 0, bytesWritten: 0 };
    const damage = new DamageLog(options.allowDamaged ?? false, logger);
    const work: Work = { repository, point, options, result, damage };
    for (const disk of disks) {
      const found = target.disks.find(({ slot }) => slot === disk.slot);
      if (!found) throw new UserError('unsupported', `${doing}: the host has no place for ${disk.name}`);
      if (found.device && luns?.has(disk.name)) throw mapsNone(platform, disk);
      if (found.device) await copy(work, disk, found.device);
      result.files.push({ disk: disk.name, path: found.path, size: disk.size });
    }
    if (memory) await copyMemory(work, memory, target);
    for (const disk of disks) await overwrite(work, disk, luns?.get(disk.name)?.device);
    throwIfAborted(signal, doing);
    const machine = await target.commit({ start: options.start ?? false });
    await entry.end();
    for (const note of target.notes.slice(told)) logger.info(note);
    for (const note of lunNotes(point.disks, luns, options.luns)) logger.info(note);
    return { ...result, machine, damaged: damage.all() };
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await target.abort().catch((fault: unknown) => {
      logger.error(`cleaning up after ${doing}: ${toPrimaError(fault, 'cleaning up').message}`);
    });
    throw failure;
  }
}

interface Work {
  repository: Repository;
  point: Point;
  options: RestoreToHostOptions;
  result: Omit<HostRestore, 'machine' | 'damaged'>;
  damage: DamageLog;
}

async function copyMemory(work: Work, memory: PointDisk, target: RestoreTarget): Promise<void> {
  if (target.memory) {
    await copy(work, memory, target.memory);
    return;
  }
  work.options.logger?.warn(`the host took no memory: ${work.point.machine.name} will start from its disks`);
}

function mapsNone({ kind, name }: Platform, disk: PointDisk): UserError {
  return new UserError(
    'unsupported',
    `${name} is a host of the kind ${kind}, on which Prima maps no LUNs: restore ${disk.name} as a disk (without --map-luns), or its LUN by ` +
      'itself (--to-device)',
  );
}

/** Last, because it cannot be taken back. */
async function overwrite(work: Work, disk: PointDisk, device: string | undefined): Promise<void> {
  if (device === undefined || !work.options.luns?.overwrite) return;
  await withSource(work, disk, (source, options) => writeLun(source, device, options));
}

async function copy(work: Work, disk: PointDisk, device: WritableDevice): Promise<void> {
  await withSource(work, disk, (source, options) =>
    copyDevice(source, device, { ...options, targetIsZero: true }),
  );
}

async function withSource(
  { repository, point, options, result, damage }: Work,
  disk: PointDisk,
  task: (source: PointDevice, options: Pick<CopyOptions, 'signal' | 'onProgress'>) => Promise<CopyResult>,
): Promise<void> {
  const source = await repository.openDisk(point, disk.name, damage.opening(disk.name));
  try {
    const copied = await task(source, {
      signal: options.signal,
      onProgress: (progress) => options.onProgress?.(`${point.machine.name} ${disk.name}`, progress),
    });
    result.bytesRead += copied.read;
    result.bytesWritten += copied.written;
  } finally {
    await source.close();
  }
}
