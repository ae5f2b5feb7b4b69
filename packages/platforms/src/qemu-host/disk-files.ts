/** A machine's disk files as they lie there: format, size, bitmaps; made and resized through qemu-img. */
import { chmod, stat } from 'node:fs/promises';
import { PrimaError, runProgram, toPrimaError } from '@prima/base';
import { detectFormat, type DiskFormat, isDiskFormat } from '@prima/formats';
import type { MachineDisk } from '../platform.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';
import type { DirtyBitmap } from './qemu-blocks.ts';

/** The format that was recorded for the disk, or the one that shows; see `detectFormat` for what can go wrong. */
export async function formatOf(disk: DiskConfig): Promise<DiskFormat> {
  if (disk.format === undefined) return detectFormat(disk.path);
  if (isDiskFormat(disk.format)) return disk.format;
  throw new PrimaError(
    'unsupported',
    `the .vmx calls ${disk.path} ${disk.format}, a format that Prima does not read`,
  );
}

/** The formats of all disks, by slot. */
export async function diskFormats(config: MachineConfig): Promise<Map<string, string>> {
  const formats = new Map<string, string>();
  for (const disk of config.disks) formats.set(disk.slot, await formatOf(disk));
  return formats;
}

/** How the disk looks; what is wrong with it is in `excluded`. */
export async function describeDisk(disk: DiskConfig, index: number): Promise<MachineDisk> {
  const described = { name: `disk${index}`, slot: disk.slot, path: disk.path };
  let format = disk.format ?? 'unknown';
  try {
    format = await formatOf(disk);
    return { ...described, format, size: await virtualSize(disk.path, format) };
  } catch (error) {
    const excluded = toPrimaError(error, `looking at ${disk.path}`).message;
    return { ...described, format, size: 0, excluded };
  }
}

async function virtualSize(path: string, format: string): Promise<number> {
  const info = await stat(path);
  if (format === 'raw' && info.isFile()) return Math.ceil(info.size / 512) * 512;
  return (await imageInfo(path, format))['virtual-size'];
}

/** What cold backups ask of a disk file. */
export interface DiskFile {
  size: number;
  bitmaps: DirtyBitmap[];
  internalSnapshots: boolean;
  /** It can hold bitmaps. */
  keepsBitmaps: boolean;
}

/** qemu-img info --output=json; qapi: ImageInfo, Qcow2BitmapInfo. */
interface ImageInfo {
  'virtual-size': number;
  snapshots?: unknown[];
  'format-specific'?: {
    data?: { compat?: string; bitmaps?: { name: string; granularity: number; flags: string[] }[] };
  };
}

/** The lock of a running machine on its disk is no obstacle. */
async function imageInfo(path: string, format: string): Promise<ImageInfo> {
  const { stdout } = await runProgram('qemu-img', ['info', '-U', '--output=json', '-f', format, path]);
  return JSON.parse(stdout) as ImageInfo;
}

export async function diskFile(path: string, format: string): Promise<DiskFile> {
  const info = await imageInfo(path, format);
  const data = info['format-specific']?.data;
  return {
    size: info['virtual-size'],
    internalSnapshots: (info.snapshots ?? []).length > 0,
    keepsBitmaps: format === 'qcow2' && data?.compat !== '0.10',
    bitmaps: (data?.bitmaps ?? []).map(({ name, granularity, flags }) => ({
      name,
      granularity,
      count: 0,
      persistent: true,
      busy: false,
      recording: flags.includes('auto'),
      inconsistent: flags.includes('in-use'),
    })),
  };
}

export async function addFileBitmap(path: string, name: string, granularityBytes: number): Promise<void> {
  await runProgram('qemu-img', [
    'bitmap',
    '--add',
    '-g',
    String(granularityBytes),
    '-f',
    'qcow2',
    path,
    name,
  ]);
}

export async function removeFileBitmap(path: string, name: string): Promise<void> {
  await runProgram('qemu-img', ['bitmap', '--remove', '-f', 'qcow2', path, name]);
}

export async function createDisk(path: string, format: 'raw' | 'qcow2', size: number): Promise<void> {
  await runProgram('qemu-img', ['create', '-q', '-f', format, path, String(size)]);
  await chmod(path, 0o600);
}

/** Raises `remote` when it would become smaller. */
export async function resizeDisk(path: string, format: 'raw' | 'qcow2', size: number): Promise<void> {
  await runProgram('qemu-img', ['resize', '-q', '-f', format, path, String(size)]);
}
