/** Cold backups: the disks of a machine that is off or suspended, or of a folder that no host has loaded. */
import { readdir } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { silentLogger, toPrimaError } from '@prima/base';
import { type BlockDevice, openRawFile } from '@prima/block';
import { isLogName, openVmdk } from '@prima/formats';
import { addBitmap, mappingOpener, openWithQemu, removeBitmap } from '@prima/qemu';
import type { DiskReading, Machine, MachineDisk, MachineReading, OpenForBackupOptions } from '../platform.ts';
import {
  bitmapPrefix,
  granularityBytes,
  judgeParent,
  newBitmapName,
  type ParentAnswer,
  type QemuCheckpoint,
  strayBitmaps,
} from './bitmaps.ts';
import { describeDisks, type DiskFile, diskFile, knownFormat } from './disk-files.ts';
import { parentBitmap } from './live-plan.ts';
import type { MachineConfig } from './machine-config.ts';
import { fileExists, type MachinePaths } from './machine-folder.ts';
import { lockMachine, type MachineLock } from './machine-lock.ts';
import { pointFiles } from './point-files.ts';
import { undoLeftBackup } from './undo.ts';

export interface ColdRequest {
  paths: MachinePaths;
  config: MachineConfig;
  machine: Machine;
  options: OpenForBackupOptions;
  /** Raises `state` when the machine runs; called under the lock, which keeps it from being started. */
  checkOff(): Promise<void>;
}

interface ColdDisk {
  disk: MachineDisk;
  parent: ParentAnswer;
  newBitmap?: string;
}

/** Opens the disks of a machine that does not run. See `Platform.openForBackup`. */
export async function openCold(request: ColdRequest): Promise<MachineReading> {
  const { paths, options } = request;
  const logger = options.logger ?? silentLogger;
  const lock = await lockIfWritable(request);
  const devices: BlockDevice[] = [];
  const disks: ColdDisk[] = [];
  let succeeded = false;
  let closed: Promise<void> | undefined;
  const closeDevices = async () => {
    for (const device of devices) await device.close();
  };
  const giveBack = async () => {
    await closeDevices();
    if (!succeeded) await discardNew(disks);
    await lock.release();
  };
  const close = () => (closed ??= giveBack());
  try {
    await request.checkOff();
    for (const undone of await undoLeftBackup(paths)) logger.warn(undone);
    const machineDisks = await describeDisks(request.config);
    const pointInTime = Date.now();
    const suspended = await fileExists(paths.memory);
    const { files, notes } = await pointFiles(
      paths,
      request.config,
      suspended ? paths.memoryLaunch : paths.launch,
    );
    const why = [
      ...lock.why,
      ...notes,
      suspended ? 'the machine is suspended: its memory is in the point' : 'the machine is off',
    ];
    const readings: DiskReading[] = [];
    const skipped: MachineReading['skipped'] = [];
    for (const disk of machineDisks) {
      if (disk.excluded !== undefined) skipped.push({ disk, why: disk.excluded });
      else {
        readings.push(await openDisk(disk, { options, devices, disks, why, track: lock.writable }));
        why.push(...(await foreignNotes(disk)));
      }
    }
    const memory = suspended ? await openRawFile(paths.memory) : undefined;
    if (memory) devices.push(memory);
    return {
      mode: 'cold',
      quiesced: false,
      why,
      pointInTime,
      disks: readings,
      skipped,
      files,
      checkpoint: coldCheckpoint(disks),
      ...(memory ? { memory } : {}),
      succeed: async () => {
        succeeded = true;
        await closeDevices(); // QEMU's tools lock the files
        await forgetOld(disks, options.owner);
      },
      close,
    };
  } catch (error) {
    const failure = toPrimaError(error, `opening the machine in ${paths.folder} for a cold backup`);
    await close();
    throw failure;
  }
}

interface ColdWork {
  options: OpenForBackupOptions;
  devices: BlockDevice[];
  disks: ColdDisk[];
  why: string[];
  /** Bitmaps may be added to the files. */
  track: boolean;
}

async function openDisk(disk: MachineDisk, work: ColdWork): Promise<DiskReading> {
  const { options, devices, disks, why } = work;
  const file = await diskFile(disk.path, knownFormat(disk));
  const parent = judgeParent({
    disk,
    checkpoint: options.since,
    full: options.full ?? false,
    bitmaps: file.bitmaps,
    internalSnapshots: file.internalSnapshots,
    persistent: file.keepsBitmaps,
  });
  const cold: ColdDisk = { disk, parent };
  disks.push(cold);
  if (work.track && file.keepsBitmaps) await renewBitmaps(cold, file, work);
  if (disk.format === 'raw' || disk.lun) {
    const device = disk.lun ? await openMapped(disk, why) : await openRawFile(disk.path);
    devices.push(device);
    return { disk, device, whyFull: whyFull(parent) };
  }
  const bitmap = 'bitmap' in parent ? parent.bitmap : undefined;
  const device = await openWithQemu(disk.path, {
    format: knownFormat(disk),
    bitmap,
    signal: options.signal,
  });
  devices.push(device);
  if (bitmap === undefined) return { disk, device, whyFull: whyFull(parent) };
  return { disk, device, changed: await device.dirtyRanges(bitmap, undefined, options.signal) };
}

async function openMapped({ name, path }: MachineDisk, why: string[]): Promise<BlockDevice> {
  const openMapping = mappingOpener({
    note: (text) => why.push(`${name}: ${text}`),
    onFound: ({ device }) => why.push(`${name} is a raw device mapping: read from ${device}`),
  });
  return (await openVmdk(path, { openMapping })).device;
}

const whyFull = (parent: ParentAnswer): string =>
  'whyFull' in parent ? parent.whyFull : 'a raw file keeps no change bitmap';

/** Redo logs of other tools: what they hold is not what is read. A start refuses them. */
async function foreignNotes({ name, path, base = path, logs = [] }: MachineDisk): Promise<string[]> {
  const own = new Set(logs.map((log) => basename(log.path)));
  const names = await readdir(dirname(base));
  const foreign = names.filter(
    (file) => isLogName(file, basename(base)) && ![...own].some((log) => file.startsWith(log)),
  );
  if (foreign.length === 0) return [];
  return [
    `${name} is read without redo logs that Prima did not make: ${foreign.join(', ')}; what they hold is not in the point`,
  ];
}

/** Nothing writes to the disk now, so the order of adding and reading does not matter. */
async function renewBitmaps(cold: ColdDisk, file: DiskFile, { options, why }: ColdWork): Promise<void> {
  const { disk } = cold;
  const keep = parentBitmap(options.since, disk.slot);
  const broken = file.bitmaps.some(({ name, inconsistent }) => name === keep && inconsistent);
  try {
    for (const name of strayBitmaps(file.bitmaps, options.owner, broken ? undefined : keep)) {
      await removeBitmap(disk.path, name);
    }
    const name = newBitmapName(options.owner);
    await addBitmap(disk.path, name, { granularityBytes });
    cold.newBitmap = name;
  } catch (error) {
    const { code, message } = toPrimaError(error, `tracking changes of ${disk.name}`);
    if (code === 'cancelled') throw error;
    why.push(`changes of ${disk.name} are not tracked from here on: ${message}`);
  }
}

function coldCheckpoint(disks: readonly ColdDisk[]): QemuCheckpoint {
  return {
    platform: 'qemu',
    version: 1,
    disks: disks.map(({ disk, newBitmap }) => ({
      slot: disk.slot,
      size: disk.size,
      path: disk.path,
      format: disk.format,
      ...(newBitmap === undefined ? {} : { bitmap: newBitmap }),
    })),
  };
}

async function forgetOld(disks: readonly ColdDisk[], owner: string): Promise<void> {
  for (const { disk, newBitmap } of disks) {
    if (newBitmap === undefined) continue;
    const { bitmaps } = await diskFile(disk.path, knownFormat(disk));
    for (const { name } of bitmaps) {
      if (!name?.startsWith(bitmapPrefix(owner)) || name === newBitmap) continue;
      await removeBitmap(disk.path, name);
    }
  }
}

async function discardNew(disks: readonly ColdDisk[]): Promise<void> {
  for (const { disk, newBitmap } of disks) {
    if (newBitmap !== undefined) await removeBitmap(disk.path, newBitmap);
  }
}

/** A folder that cannot be written can be read, but neither locked nor tracked. */
async function lockIfWritable({
  paths,
}: ColdRequest): Promise<MachineLock & { why: string[]; writable: boolean }> {
  try {
    return { ...(await lockMachine(paths, { purpose: 'a cold backup' })), why: [], writable: true };
  } catch (error) {
    const failure = toPrimaError(error, `locking ${paths.folder}`);
    if (failure.code !== 'permission') throw failure;
    const nothing = () => Promise.resolve();
    const why = [`${paths.folder} cannot be written: nothing keeps the machine from being started meanwhile`];
    return { release: nothing, abandon: nothing, why, writable: false };
  }
}
