/**
 * Exports a machine to a folder of its own, as ESX's vmsnap did: its .vmx, the files that belong to it, its disks as VMDKs,
 * and a manifest with the digest of each. `importPackage` takes it back. The folder is whole or not there.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  type Logger,
  type Progress,
  statIfThere,
  syncFolder,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import { type BlockDevice, copyDevice } from '@prima/block';
import {
  createVmdk,
  type ManifestEntry,
  ManifestDigest,
  openVmdk,
  parseVmx,
  type Vmx,
  writeManifest,
  writeVmdkStreamFile,
  writeVmx,
} from '@prima/formats';
import type { DiskReading, Machine, MachineReading, OpenForBackupOptions, Platform } from '@prima/platforms';
import type { Journal } from '../journal.ts';
import { assertRoom, dataBytes } from '../restore/space.ts';

export const exportKinds = [
  'twoGbMaxExtentSparse',
  'monolithicSparse',
  'monolithicFlat',
  'streamOptimized',
] as const;
export type ExportKind = (typeof exportKinds)[number];

export interface ExportMachineOptions {
  /** Of the disks. Default `twoGbMaxExtentSparse`, in pieces that every file system takes, as ESX exported them. */
  kind?: ExportKind;
  /** How a running machine's disks are held still. Default `redo`. */
  method?: OpenForBackupOptions['method'];
  /** Replace an export that is there; the old one stays until the new one is whole. */
  force?: boolean;
  journal: Journal;
  signal?: AbortSignal;
  logger: Logger;
  onProgress?: (subject: string, progress: Progress) => void;
}

export interface ExportedMachine {
  folder: string;
  vmx: string;
  mode: MachineReading['mode'];
  quiesced: boolean;
  notes: string[];
  disks: { name: string; path: string; size: number }[];
  skipped: { name: string; why: string }[];
  bytesRead: number;
  bytesWritten: number;
}

/** Exports to `into/NAME`. Raises `exists`, `no-space`, and what opening the machine raises. */
export async function exportMachine(
  source: { platform: Platform; machine: Machine; host?: string },
  into: string,
  options: ExportMachineOptions,
): Promise<ExportedMachine> {
  const { platform, machine, host } = source;
  const { force = false, method = 'redo', signal, logger } = options;
  checkFolderName(machine.name);
  const folder = join(resolve(into), machine.name);
  const doing = `exporting ${machine.name} to ${folder}`;
  if (!force && (await statIfThere(folder))) {
    throw new UserError('exists', `${folder} is there already; nothing was written (--force replaces it)`);
  }
  await mkdir(resolve(into), { recursive: true, mode: 0o700 });
  await using entry = await options.journal.begin(doing, host === undefined ? [] : [{ kind: 'host', host }]);
  const staging = join(resolve(into), `${temporaryPrefix}${machine.name}-${randomBytes(4).toString('hex')}`);
  await entry.intend({ kind: 'temporary', path: staging });
  const reading = await platform.openForBackup(machine, {
    mode: 'auto',
    owner: 'export',
    method,
    signal,
    logger,
  });
  try {
    const exported = await fill({ reading, machine, staging }, options);
    await reading.close(); // what it needed of the machine is taken back before the export counts
    throwIfAborted(signal, doing);
    await publish(staging, folder);
    await entry.end();
    const moved = (path: string) => join(folder, basename(path));
    const disks = exported.disks.map((disk) => ({ ...disk, path: moved(disk.path) }));
    return { ...exported, folder, vmx: moved(exported.vmx), disks };
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await reading.close().catch((fault: unknown) => {
      logger.error(`after ${doing}: ${toPrimaError(fault, 'closing').message}`);
    });
    await entry.undo();
    throw failure;
  }
}

/** Displayed names may hold anything, also what leads out of the folder. */
function checkFolderName(name: string): void {
  if (name !== '' && name === basename(name) && !name.startsWith('.') && !name.includes('\0')) return;
  throw new UserError(
    'usage',
    `"${name}" cannot be the name of a folder: give the machine another name first`,
  );
}

interface Work {
  reading: MachineReading;
  machine: Machine;
  staging: string;
}

async function fill(
  { reading, machine, staging }: Work,
  options: ExportMachineOptions,
): Promise<ExportedMachine> {
  const { kind = 'twoGbMaxExtentSparse', signal } = options;
  await mkdir(staging, { mode: 0o700 });
  await assertRoom(staging, await sumData(reading.disks, signal));
  const result: ExportedMachine = {
    folder: staging,
    vmx: join(staging, `${machine.name}.vmx`),
    mode: reading.mode,
    quiesced: reading.quiesced,
    notes: [...reading.why],
    disks: [],
    skipped: reading.skipped.map(({ disk, why }) => ({ name: disk.name, why })),
    bytesRead: 0,
    bytesWritten: 0,
  };
  const manifest: string[] = [];
  const vmx = configurationOf(reading, machine);
  for (const { disk, device } of reading.disks) {
    const name = `${disk.name}.vmdk`;
    const target = {
      path: join(staging, name),
      kind,
      adapterType: disk.slot.startsWith('ide') ? 'ide' : 'lsilogic',
    };
    const written = await writeDisk(device, target, {
      signal,
      onProgress: (progress) => options.onProgress?.(`${machine.name} ${disk.name}`, progress),
    });
    manifest.push(...written.files);
    vmx.set(`${disk.slot}.fileName`, name);
    vmx.set(`prima.${disk.slot}.format`, 'vmdk');
    result.disks.push({ name: disk.name, path: join(staging, name), size: device.size });
    result.bytesRead += written.read;
    result.bytesWritten += written.written;
  }
  for (const { name, bytes } of reading.files) {
    if (name.toLowerCase().endsWith('.vmx')) continue;
    await writeDurably(join(staging, basename(name)), bytes);
    manifest.push(join(staging, basename(name)));
  }
  await writeDurably(result.vmx, Buffer.from(writeVmx(vmx)));
  manifest.push(result.vmx);
  await writeDurably(
    join(staging, `${machine.name}.mf`),
    Buffer.from(writeManifest(await digests(manifest, signal))),
  );
  await syncFolder(staging);
  return result;
}

async function sumData(disks: readonly DiskReading[], signal?: AbortSignal): Promise<number> {
  let bytes = 0;
  for (const { device } of disks) bytes += await dataBytes(device, signal);
  return bytes;
}

/** What speaks of files that do not come along goes; the identity stays. */
function configurationOf({ files, skipped }: MachineReading, { name }: Machine): Vmx {
  const file = files.find((found) => found.name.toLowerCase().endsWith('.vmx'));
  if (!file)
    throw new UserError(
      'unsupported',
      `${name} has no .vmx on its host, and cannot be exported as a folder yet`,
    );
  const vmx = parseVmx(file.bytes);
  for (const key of ['checkpoint.vmState', 'sched.swap.derivedName', 'suspend.directory']) vmx.delete(key);
  for (const key of vmx.keys()) if (/^(?:scsi|sata|ide|nvme)\d+:\d+\.redo$/i.test(key)) vmx.delete(key);
  // a disk that stays behind may be in use there
  for (const { disk } of skipped) {
    vmx.set(`${disk.slot}.present`, 'FALSE');
    vmx.delete(`${disk.slot}.fileName`);
  }
  return vmx;
}

interface WriteTarget {
  path: string;
  kind: ExportKind;
  adapterType: string;
}

async function writeDisk(
  source: BlockDevice,
  { path, kind, adapterType }: WriteTarget,
  options: { signal?: AbortSignal; onProgress: (progress: Progress) => void },
): Promise<{ read: number; written: number; files: readonly string[] }> {
  if (kind === 'streamOptimized') {
    return { ...(await writeVmdkStreamFile(source, path, options)), files: [path] };
  }
  const { files } = await createVmdk(path, {
    createType: kind,
    size: source.size,
    adapterType,
    signal: options.signal,
  });
  const { device } = await openVmdk(path, { writable: true });
  try {
    const copied = await copyDevice(source, device, { ...options, targetIsZero: true });
    await device.flush();
    return { ...copied, files };
  } finally {
    await device.close();
  }
}

async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(path, bytes, { flag: 'wx', mode: 0o600, flush: true });
}

async function digests(paths: readonly string[], signal?: AbortSignal): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  for (const path of paths) {
    const digest = new ManifestDigest(['sha256']);
    for await (const piece of createReadStream(path, { highWaterMark: 1024 * 1024, signal }))
      digest.update(piece as Buffer);
    entries.push(...digest.entries(basename(path)));
    await using file = await open(path, 'r');
    await file.sync();
  }
  return entries;
}

/** The export that is replaced goes only when the new one has its name. */
async function publish(staging: string, folder: string): Promise<void> {
  const found = await statIfThere(folder);
  if (found && !found.isDirectory())
    throw new UserError('exists', `${folder} is no folder, and is not replaced`);
  const old = found && (await freeName(`${folder}.old`));
  if (old !== undefined) await rename(folder, old);
  try {
    await rename(staging, folder);
  } catch (error) {
    if (old !== undefined) await rename(old, folder);
    throw error;
  }
  await syncFolder(join(folder, '..'));
  if (old !== undefined) await rm(old, { recursive: true, force: true });
}

/** Another machine's export may have the name. */
async function freeName(path: string): Promise<string> {
  let name = path;
  for (let number = 1; await statIfThere(name); number += 1) name = `${path}-${number}`;
  return name;
}
