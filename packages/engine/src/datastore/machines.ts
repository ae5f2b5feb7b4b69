/** The machines whose configurations lie in a datastore, or on hosts: which files each of them names. */
import { readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { PrimaError, toPrimaError } from '@prima/base';
import { configurationLimitBytes, parseVmx, readConfiguration, slotName } from '@prima/formats';
import { parseXml } from '@prima/xml';
import type { Unreadable } from './scan.ts';

/** A disk or another file that a configuration names. */
export interface NamedFile {
  /** `scsi0:0`, `snapshot0.disk0`, `nvram` … */
  slot: string;
  /** As it is written. */
  name: string;
  kind: 'disk' | 'other';
}

export interface FoundMachine {
  name: string;
  /** The configuration's path. */
  configuration: string;
  named: NamedFile[];
}

export interface FoundMachines {
  machines: FoundMachine[];
  unreadable: Unreadable[];
}

const configurationName = /\.(?:vmx|ovf|xml)$/i;

export function isConfiguration(path: string): boolean {
  return configurationName.test(path);
}

/** XML that is something else than a machine is left alone; what cannot be read is said. */
export async function findMachines(paths: Iterable<string>): Promise<FoundMachines> {
  const found: FoundMachines = { machines: [], unreadable: [] };
  for (const path of paths) {
    try {
      const machine = await readMachine(path);
      if (machine) found.machines.push(machine);
    } catch (error) {
      found.unreadable.push({ path, why: toPrimaError(error, `reading ${path}`).message });
    }
  }
  return found;
}

async function readMachine(path: string): Promise<FoundMachine | undefined> {
  const bytes = await readWhole(path);
  if (/\.xml$/i.test(path) && !['domain', 'Envelope'].includes(parseXml(bytes, path).root.local))
    return undefined;
  const { dialect, result, disksBySlot } = readConfiguration(bytes, path);
  const { firmware, cdroms } = result;
  const named: NamedFile[] = [];
  for (const [slot, { source }] of disksBySlot)
    if (source?.kind === 'file') named.push({ slot, name: source.location, kind: 'disk' });
  for (const { slot, source } of cdroms)
    if (source?.kind === 'file') named.push({ slot: slotName(slot), name: source.location, kind: 'other' });
  if (firmware.nvram !== undefined) named.push({ slot: 'nvram', name: firmware.nvram, kind: 'other' });
  if (dialect === 'vmx') named.push(...vmxFiles(bytes), ...(await snapshotFiles(path)));
  return { name: result.name, configuration: path, named };
}

async function readWhole(path: string): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > configurationLimitBytes)
    throw new PrimaError('format', `${path} is too large for a configuration`);
  return readFile(path);
}

/** Redo logs of ESX 2, saved memory. */
function vmxFiles(bytes: Uint8Array): NamedFile[] {
  return [...parseVmx(bytes).entries()].flatMap(({ key, value }): NamedFile[] => {
    if (value === '') return [];
    if (/:\d+\.redo$/i.test(key)) return [{ slot: key, name: value, kind: 'disk' }];
    return /^checkpoint\.vmState$/i.test(key) ? [{ slot: key, name: value, kind: 'other' }] : [];
  });
}

/** What VMware's list of snapshots names (`.vmsd`, beside the .vmx and as that in form): disks of other branches, memory. */
async function snapshotFiles(path: string): Promise<NamedFile[]> {
  const list = path.replace(/\.[^.]+$/, '.vmsd');
  let bytes: Buffer;
  try {
    bytes = await readWhole(list);
  } catch (error) {
    const failure = toPrimaError(error, `reading ${list}`);
    if (failure.code === 'not-found') return [];
    throw failure;
  }
  return [...parseVmx(bytes).entries()].flatMap(({ key, value }): NamedFile[] => {
    if (value === '') return [];
    const disk = /^(snapshot\d+\.disk\d+)\.fileName$/i.exec(key)?.[1];
    if (disk !== undefined) return [{ slot: disk, name: value, kind: 'disk' }];
    return /^snapshot\d+\.filename$/i.test(key) ? [{ slot: key, name: value, kind: 'other' }] : [];
  });
}

/** Memory lies beside the state that names it: `x.vmsn` and `x.vmem`. */
export function memoryBeside(path: string): string {
  return `${dirname(path)}/${basename(path).replace(/\.[^.]+$/, '')}.vmem`;
}
