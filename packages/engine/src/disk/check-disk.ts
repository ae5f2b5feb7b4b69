/** Checks a disk file without reading its data, and repairs what can be repaired without changing what the disk holds. */
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PrimaError, throwIfAborted } from '@prima/base';
import { checkVmdk, readPartitions } from '@prima/formats';
import { checkImage, type ImageCheck } from '@prima/qemu';
import { changeDisk, type ChangeOptions } from './change-disk.ts';
import { type DiskParts, diskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';
import { openDiskFile } from './open-disk.ts';

export interface DiskFinding {
  /** `error`: data is lost or in doubt; `warning`: something is wrong, all data is there; `info`: odd, harmless. */
  severity: 'error' | 'warning' | 'info';
  path: string;
  offset?: number;
  message: string;
  repairable: boolean;
}

export interface CheckedDisk {
  path: string;
  format: string;
  /** No errors and no warnings. */
  sound: boolean;
  findings: DiskFinding[];
  /** What was repaired, a sentence each. */
  repairs: string[];
}

/** Raises only what makes a check impossible. */
export async function checkDisk(disk: NamedDisk, signal?: AbortSignal): Promise<CheckedDisk> {
  const parts = await diskParts(disk);
  return verdict(parts, await findingsOf(parts, { disk, signal }));
}

/** Repairs, and checks again: what is left is in the findings. Raises `busy`, and `unsupported` for raw disks. */
export async function repairDisk(disk: NamedDisk, options: ChangeOptions): Promise<CheckedDisk> {
  const { signal } = options;
  const doing = `repairing ${disk.path}`;
  return changeDisk(disk, { ...options, doing }, async (parts) => {
    throwIfAborted(signal, doing);
    const repairs = await repaired(parts, { disk, signal, doing });
    return { ...verdict(parts, await findingsOf(parts, { disk, signal })), repairs };
  });
}

interface Checking {
  disk: NamedDisk;
  signal?: AbortSignal;
}

function verdict({ path, format }: DiskParts, findings: DiskFinding[]): CheckedDisk {
  return {
    path,
    format,
    sound: findings.every(({ severity }) => severity === 'info'),
    findings,
    repairs: [],
  };
}

async function findingsOf(parts: DiskParts, { disk, signal }: Checking): Promise<DiskFinding[]> {
  const { path, format } = parts;
  if (format === 'vmdk') {
    const { findings } = await checkVmdk(path, { roots: rootsOf(disk, path), signal });
    return findings.map(({ code: _code, ...finding }) => finding);
  }
  if (format === 'raw') return rawFindings(disk, signal);
  return imageFindings(path, await checkImage(path, format, { signal }));
}

function rootsOf({ allowed = [] }: NamedDisk, path: string): string[] {
  return [...allowed, dirname(path)];
}

/** A raw disk has nothing of its own that could be wrong; of what its guest wrote, the partition table is looked at. */
async function rawFindings(disk: NamedDisk, signal?: AbortSignal): Promise<DiskFinding[]> {
  const { device } = await openDiskFile(disk.path, { ...disk, option: '--format', signal });
  try {
    const { size } = await stat(disk.path);
    const finding = { path: disk.path, repairable: false };
    const findings: DiskFinding[] = [];
    if (size % 512 !== 0) {
      const message = `it has ${size} bytes, which is no whole number of sectors: it may be cut off`;
      findings.push({ ...finding, severity: 'warning', message, offset: size });
    }
    const { partitions, notes } = await readPartitions(device, signal);
    for (const { offset, length } of partitions) {
      if (offset + length <= device.size) continue;
      const message = `a partition ends at ${offset + length}, beyond the end of the disk at ${device.size}`;
      findings.push({ ...finding, severity: 'error', message, offset: device.size });
    }
    for (const message of notes) findings.push({ ...finding, severity: 'info', message });
    const message = 'a raw disk has no tables of its own: only its size and its partition table were checked';
    return [...findings, { ...finding, severity: 'info', message }];
  } finally {
    await device.close();
  }
}

function imageFindings(path: string, { corruptions, leaks, errors }: ImageCheck): DiskFinding[] {
  const findings: DiskFinding[] = [];
  if (corruptions > 0) {
    const message = `${corruptions} entries of its tables are damaged; make a copy of the file, then try qemu-img check -r all on the copy`;
    findings.push({ severity: 'error', path, message, repairable: false });
  }
  if (errors > 0) {
    const message = `${errors} of its tables could not be checked`;
    findings.push({ severity: 'error', path, message, repairable: false });
  }
  if (leaks > 0) {
    const message = `${leaks} clusters belong to nothing and take room`;
    findings.push({ severity: 'warning', path, message, repairable: corruptions === 0 });
  }
  return findings;
}

async function repaired(
  { path, format }: DiskParts,
  { disk, signal, doing }: Checking & { doing: string },
): Promise<string[]> {
  if (format === 'vmdk') {
    const { repairs } = await checkVmdk(path, { roots: rootsOf(disk, path), repair: true, signal });
    return [...repairs];
  }
  if (format === 'raw') {
    throw new PrimaError(
      'unsupported',
      `${doing}: a raw disk has no tables of its own that could be repaired`,
    );
  }
  const { leaks, corruptions } = await checkImage(path, format, { signal });
  if (leaks === 0 || corruptions > 0) return [];
  await checkImage(path, format, { repairLeaks: true }); // not cancelled: half a repair is worse than none
  return [`freed ${leaks} clusters that belonged to nothing`];
}
