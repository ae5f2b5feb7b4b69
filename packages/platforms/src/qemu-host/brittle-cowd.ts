/**
 * COWD extents that QEMU would destroy: those of ESX get their grain tables one by one, and QEMU 7.2, which makes none, writes where a missing
 * one says: over the header (docs/format/vmdk.md).
 */
import { dirname } from 'node:path';
import { PrimaError, toPrimaError } from '@prima/base';
import { type DiskFolder, lacksGrainTables, localFolder, openVmdk, type VmdkInfo } from '@prima/formats';
import { topOf } from './disk-files.ts';
import type { DiskConfig } from './machine-config.ts';

/** Raises `refused` where QEMU would write to such a one. What cannot be opened is left to the start, which says it. */
export async function refuseBrittleCowd(disk: Pick<DiskConfig, 'path' | 'format'>): Promise<void> {
  const info = await infoOf(disk);
  if (!info) return;
  const folder = localFolder([dirname(info.path)]);
  for (const { format, path } of info.extents) {
    if (format !== 'cowd' || path === undefined) continue;
    if (!(await isBrittle(path, folder))) continue;
    throw new PrimaError(
      'refused',
      `${info.path} is a snapshot or redo log of ESX (COWD) without all of its tables, and QEMU would destroy it with its first write. Make a ` +
        `disk of its own of it (prima disk convert ${info.path} NEW.qcow2), or put a redo log over it (prima disk redo add)`,
      { details: { path: info.path, extent: path } },
    );
  }
}

async function isBrittle(path: string, folder: DiskFolder): Promise<boolean> {
  const file = await folder.open(path);
  try {
    return await lacksGrainTables(file);
  } finally {
    await file.close();
  }
}

async function infoOf(disk: Pick<DiskConfig, 'path' | 'format'>): Promise<VmdkInfo | undefined> {
  try {
    const { path, format } = await topOf(disk);
    if (format !== 'vmdk') return undefined;
    const { device, info } = await openVmdk(path, { parents: false });
    await device.close();
    return info;
  } catch (error) {
    if (toPrimaError(error, `looking at ${disk.path}`).code === 'internal') throw error;
    return undefined;
  }
}
