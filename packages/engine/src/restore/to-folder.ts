/** Restores a point to files in a folder: all of them or none, and never over what is there unasked. */
import { stat, writeFile } from 'node:fs/promises';
import { type Logger, type Progress, silentLogger, throwIfAborted, toPrimaError } from '@prima/base';
import type { Point, PointDevice, PointDisk, Repository } from '@prima/repository';
import { stageMapping } from '../disk/raw-mapping.ts';
import { writeDisk } from '../disk/write-disk.ts';
import type { Journal } from '../journal.ts';
import { DamageLog, type DamagedRange } from './damage-log.ts';
import { findLuns, type LunChoice, lunNotes, writeLun } from './luns.ts';
import { namesOf, type PlannedFile, plannedDisks, planFolder, type PlanOptions } from './plan.ts';
import { assertRoom, neededBytes } from './space.ts';
import { assertFree, type StagedFile, StagedFiles } from './staged-files.ts';

export interface RestoreToFolderOptions extends PlanOptions {
  /** Replace files that are there. */
  force?: boolean;
  /**
   * Go on where the point cannot be read: with zeros, which the result and `<disk>.damaged.json` beside the disk list.
   * Files of the configuration that cannot be read are left out.
   */
  allowDamaged?: boolean;
  /** Disks that were devices become mappings of these. Default: ordinary disk files. */
  luns?: LunChoice;
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
  /** Ranges that hold zeros because they cannot be read; empty unless damage is allowed. */
  damaged: DamagedRange[];
}

type PlannedDisk = PlannedFile & { kind: 'disk' | 'memory' };

interface Work {
  repository: Repository;
  point: Point;
  folder: string;
  options: RestoreToFolderOptions;
  result: FolderRestore;
  damage: DamageLog;
}

type PlannedMapping = PlannedFile & { kind: 'mapping' };

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
  const { force = false, signal, logger = silentLogger } = options;
  const doing = `restoring ${point.machine.name} to ${folder}`;
  throwIfAborted(signal, doing);
  const chosen = plannedDisks(point, options);
  const luns = options.luns && (await findLuns(chosen, options.luns, signal));
  const plan = planFolder(point, options, luns);
  const names = plan.flatMap(namesOf);
  const written = options.allowDamaged ? [...names, ...names.map(listName)] : names;
  if (!force) await assertFree(folder, written, 'another folder');
  const work: Work = {
    repository,
    point,
    folder,
    options,
    result: { files: [], bytesRead: 0, bytesWritten: 0, damaged: [] },
    damage: new DamageLog(options.allowDamaged ?? false, logger),
  };
  const entry = await options.journal.begin(doing);
  try {
    const staged = await StagedFiles.begin(folder, entry);
    await assertRoom(folder, await neededBytes(work, plan.flatMap(copiedDisk), signal));
    for (const file of plan) await writeOne(work, file, staged);
    // last: it cannot be taken back
    for (const file of plan) if (file.kind === 'mapping') await overwriteOne(work, file);
    work.result.damaged = work.damage.all();
    throwIfAborted(signal, doing);
    await staged.publish(force);
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await entry.undo();
    throw failure;
  }
  logger.info(`restored ${names.length} files of ${point.machine.name} to ${folder}`);
  for (const note of lunNotes(chosen, luns, options.luns)) logger.info(note);
  return work.result;
}

function copiedDisk(file: PlannedFile): PointDisk[] {
  return file.kind === 'disk' || file.kind === 'memory' ? [file.disk] : [];
}

async function writeOne(work: Work, file: PlannedFile, staged: StagedFiles): Promise<void> {
  const { options, result } = work;
  if (file.kind === 'mapping') {
    const [path = ''] = await stageMapping(staged, { ...file.lun, name: file.name, mode: 'virtual' });
    result.files.push({ disk: file.disk.name, path, size: file.disk.size });
    return;
  }
  const target = file.kind === 'file' ? await writeFileOf(work, file, staged) : await staged.stage(file.name);
  if (!target) return;
  if (file.kind !== 'file') await writeDiskOf(work, file, target);
  options.signal?.throwIfAborted();
  const { size } = await stat(target.temporary);
  result.files.push({ disk: file.kind === 'file' ? file.file : file.disk.name, path: target.path, size });
  if (file.kind !== 'file') await writeList(work, file, staged);
}

/** Where it was written, or undefined when it cannot be read and that is allowed. */
async function writeFileOf(
  { repository, point, damage }: Work,
  { name, file }: PlannedFile & { kind: 'file' },
  staged: StagedFiles,
): Promise<StagedFile | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await repository.readFile(point, file);
  } catch (error) {
    damage.lostFile(file, point.files.find((one) => one.name === file)?.length ?? 0, error);
    return undefined;
  }
  const target = await staged.stage(name);
  await writeFile(target.temporary, bytes, { flag: 'wx', mode: 0o600 });
  return target;
}

async function writeDiskOf(work: Work, file: PlannedDisk, target: StagedFile): Promise<void> {
  const { repository, point, damage, result, options } = work;
  const { name } = file.disk;
  await using source = closing(await repository.openDisk(point, name, damage.opening(name)));
  const copied = await writeDisk(source.device, target.temporary, {
    format: file.format,
    fileName: file.name,
    signal: options.signal,
    onProgress: (progress) => options.onProgress?.(`${point.machine.name} ${name}`, progress),
  });
  result.bytesRead += copied.read;
  result.bytesWritten += copied.written;
}

async function overwriteOne(work: Work, { disk, lun }: PlannedMapping): Promise<void> {
  const { repository, point, damage, result, options } = work;
  if (!options.luns?.overwrite) return;
  await using source = closing(await repository.openDisk(point, disk.name, damage.opening(disk.name)));
  const copied = await writeLun(source.device, lun.device, {
    signal: options.signal,
    onProgress: (progress) => options.onProgress?.(`${point.machine.name} ${disk.name}`, progress),
  });
  result.bytesRead += copied.read;
  result.bytesWritten += copied.written;
}

/** Says beside a disk what of it is not what it was. */
async function writeList({ point, damage, result }: Work, file: PlannedDisk, staged: StagedFiles) {
  const ranges = damage.rangesOf(file.disk.name);
  if (ranges.length === 0) return;
  const target = await staged.stage(listName(file.name));
  const { machine, time } = point;
  const list = { point: point.id, machine: machine.name, time, disk: file.disk.name, zeroed: ranges };
  const text = `${JSON.stringify(list, undefined, 2)}\n`;
  await writeFile(target.temporary, text, { flag: 'wx', mode: 0o600 });
  result.files.push({ disk: file.disk.name, path: target.path, size: Buffer.byteLength(text) });
}

/** `disk0.raw` → `disk0.damaged.json`. */
function listName(name: string): string {
  return `${name.replace(/\.(?:raw|qcow2|vmdk)$/, '')}.damaged.json`;
}

function closing(device: PointDevice): AsyncDisposable & { device: PointDevice } {
  return { device, [Symbol.asyncDispose]: () => device.close() };
}
