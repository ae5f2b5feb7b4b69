/** Restores one disk of a point over a device: in place of what is on it, which a person has to ask for. */
import {
  type Logger,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { Point, PointDisk, Repository } from '@prima/repository';
import { DamageLog } from './damage-log.ts';
import { checkLun, mustBeAsked, writeLun } from './luns.ts';
import { selectDisk } from './plan.ts';
import type { FolderRestore } from './to-folder.ts';

export interface RestoreToDeviceOptions {
  /** Its name, slot or number. Default: the only one, or the only one that was a device. */
  disk?: string;
  /** What is on the device may go. */
  overwrite?: boolean;
  /** Another device than the disk was, of its size or larger. */
  force?: boolean;
  /** Go on where the point cannot be read: with zeros, which the result lists. */
  allowDamaged?: boolean;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

/**
 * @param device `/dev/…` or `iscsi://…`
 * Raises `refused` unless `overwrite` is set, and for a device that is not the one that the disk was; `busy` where it is in use; then
 * nothing is written. What fails later leaves it in part written, and says so.
 */
export async function restoreToDevice(
  repository: Repository,
  point: Point,
  device: string,
  options: RestoreToDeviceOptions,
): Promise<FolderRestore> {
  const { signal, logger = silentLogger } = options;
  const doing = `restoring ${point.machine.name} to ${device}`;
  throwIfAborted(signal, doing);
  const disk = onlyDisk(point, options.disk);
  const known = await checkLun(disk, device, options);
  if (!options.overwrite) throw mustBeAsked(known);
  const damage = new DamageLog(options.allowDamaged ?? false, logger);
  const source = await repository.openDisk(point, disk.name, damage.opening(disk.name));
  try {
    const { read, written } = await writeLun(source, known.device, {
      signal,
      onProgress: (progress) => options.onProgress?.(`${point.machine.name} ${disk.name}`, progress),
    });
    logger.info(`restored ${disk.name} of ${point.machine.name} to ${known.device}`);
    const file = { disk: disk.name, path: known.device, size: disk.size };
    return { files: [file], bytesRead: read, bytesWritten: written, damaged: damage.all() };
  } catch (error) {
    throw toPrimaError(error, doing);
  } finally {
    await source.close();
  }
}

function onlyDisk(point: Point, name: string | undefined): PointDisk {
  if (name !== undefined) return selectDisk(point, name);
  const luns = point.disks.filter(({ lun }) => lun);
  for (const disks of [point.disks, luns]) {
    const [only] = disks;
    if (only && disks.length === 1) return only;
  }
  const names = point.disks.map((disk) => disk.name).join(', ') || 'none';
  throw new UserError('usage', `one disk goes to a device; name it (--disk): the point has ${names}`);
}
