/** Restores a point to files in a folder: all of them or none, and never over what is there unasked. */
import { stat, writeFile } from 'node:fs/promises';
import {
  type Logger,
  type Progress,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import { copyDevice, openRawFile } from '@prima/block';
import { type WriteFormat, writeImage } from '@prima/qemu';
import type { Point, PointDevice, Repository } from '@prima/repository';
import type { Journal } from '../journal.ts';
import { type ImageFormat, type PlannedFile, planFolder, type PlanOptions } from './plan.ts';
import { assertRoom, dataBytes } from './space.ts';
import { type StagedFile, StagedFiles, takenNames } from './staged-files.ts';

export interface RestoreToFolderOptions extends PlanOptions {
  /** Replace files that are there. */
  force?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  logger?: Logger;
  /** @param subject what is being written: "web01 disk0" */
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface RestoredFile {
  /** The disk's name, `memory`, or the configuration file's name. */
  disk: string;
  path: string;
  /** Bytes of the file (its apparent size). */
  size: number;
}

export interface FolderRestore {
  files: RestoredFile[];
  /** Bytes of data read from the repository, and written to the files. */
  bytesRead: number;
  bytesWritten: number;
}

interface Work {
  repository: Repository;
  point: Point;
  folder: string;
  options: RestoreToFolderOptions;
  result: FolderRestore;
}

/**
 * Restores `point` into `folder`, which is made where needed. Raises `exists` before anything is written when a
 * target is there and `force` is not given, `no-space` when there is no room for it, and what the repository
 * raises; on failure and cancellation nothing is left behind.
 */
export async function restoreToFolder(
  repository: Repository,
  point: Point,
  folder: string,
  options: RestoreToFolderOptions,
): Promise<FolderRestore> {
  const plan = planFolder(point, options);
  const { force = false, signal, logger = silentLogger } = options;
  const doing = `restoring ${point.machine.name} to ${folder}`;
  throwIfAborted(signal, doing);
  if (!force) await assertFree(folder, plan);
  const work: Work = {
    repository,
    point,
    folder,
    options,
    result: { files: [], bytesRead: 0, bytesWritten: 0 },
  };
  const entry = await options.journal.begin(doing);
  try {
    const staged = await StagedFiles.begin(folder, entry);
    await assertRoomFor(work, plan);
    for (const file of plan) await writeOne(work, file, await staged.stage(file.name));
    throwIfAborted(signal, doing);
    await staged.publish(force);
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await entry.undo();
    throw failure;
  }
  logger.info(`restored ${plan.length} files of ${point.machine.name} to ${folder}`);
  return work.result;
}

async function assertFree(folder: string, plan: readonly PlannedFile[]): Promise<void> {
  const taken = await takenNames(
    folder,
    plan.map(({ name }) => name),
  );
  if (taken.length === 0) return;
  throw new UserError(
    'exists',
    `${folder} already has ${taken.join(', ')}; nothing was written. Name another folder, or force it to be replaced`,
    { details: { folder, taken } },
  );
}

/** Compressed formats take less; what is asked for is room for all the data. */
async function assertRoomFor({ repository, point, folder, options }: Work, plan: readonly PlannedFile[]) {
  let needed = 0;
  for (const file of plan) {
    if (file.kind === 'file') continue;
    await using device = closing(await repository.openDisk(point, file.disk.name));
    needed += await dataBytes(device.device, options.signal);
  }
  await assertRoom(folder, needed);
}

async function writeOne(work: Work, file: PlannedFile, target: StagedFile): Promise<void> {
  const { repository, point, options, result } = work;
  if (file.kind === 'file') {
    await writeFile(target.temporary, await repository.readFile(point, file.file), {
      flag: 'wx',
      mode: 0o600,
    });
  } else {
    await using source = closing(await repository.openDisk(point, file.disk.name));
    const copied = await writeDisk(source.device, file.format, { target, file, work });
    result.bytesRead += copied.read;
    result.bytesWritten += copied.written;
  }
  options.signal?.throwIfAborted();
  const { size } = await stat(target.temporary);
  result.files.push({ disk: file.kind === 'file' ? file.file : file.disk.name, path: target.path, size });
}

/** A vmdk is compressed and in one piece: what ESX, OVF and archives take. */
const imageFormats: Record<Exclude<ImageFormat, 'raw'>, WriteFormat> = {
  qcow2: 'qcow2',
  vmdk: 'vmdk-stream',
};

async function writeDisk(
  source: PointDevice,
  format: ImageFormat,
  { target, file, work }: { target: StagedFile; file: PlannedFile & { kind: 'disk' | 'memory' }; work: Work },
): Promise<{ read: number; written: number }> {
  const { signal, onProgress } = work.options;
  const subject = `${work.point.machine.name} ${file.disk.name}`;
  const options = { signal, onProgress: (progress: Progress) => onProgress?.(subject, progress) };
  if (format !== 'raw') {
    return writeImage(source, target.temporary, { ...options, format: imageFormats[format] });
  }
  const image = await openRawFile(target.temporary, { create: { size: source.size } });
  try {
    const copied = await copyDevice(source, image, { ...options, targetIsZero: true });
    await image.flush();
    return copied;
  } finally {
    await image.close();
  }
}

function closing(device: PointDevice): AsyncDisposable & { device: PointDevice } {
  return { device, [Symbol.asyncDispose]: () => device.close() };
}
