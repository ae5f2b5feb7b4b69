/** A machine's disk files as they lie there: format, size, bitmaps; made and resized through qemu-img. */
import { open, stat } from 'node:fs/promises';
import { FormatError, PrimaError, runProgram, toPrimaError } from '@prima/base';
import { detectFormat, type DiskFormat, isDiskFormat } from '@prima/formats';
import { type ImageFile, imageChain, imageInfo } from '@prima/qemu';
import type { MachineDisk } from '../platform.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';
import type { DirtyBitmap } from './qemu-blocks.ts';

/** The format that was recorded for the disk, or the one that shows; see `detectFormat` for what can go wrong. */
async function formatOf(disk: DiskConfig): Promise<DiskFormat> {
  if (disk.format === undefined) return detectFormat(disk.path);
  if (isDiskFormat(disk.format)) return disk.format;
  throw new PrimaError(
    'unsupported',
    `the .vmx calls ${disk.path} ${disk.format}, a format that Prima does not read`,
  );
}

/** The files of all disks, by slot: each with its backing files, top first. */
export async function diskChains(config: MachineConfig): Promise<Map<string, ImageFile[]>> {
  const chains = new Map<string, ImageFile[]>();
  for (const disk of config.disks) chains.set(disk.slot, await imageChain(disk.path, await formatOf(disk)));
  return chains;
}

/** The format of a disk that is not excluded. */
export function knownFormat({ format, path }: MachineDisk): DiskFormat {
  if (isDiskFormat(format)) return format;
  throw new PrimaError('unsupported', `${path} is ${format}, a format that Prima does not read`);
}

/** How the disk looks; what is wrong with it is in `excluded`. */
export async function describeDisk(disk: DiskConfig, index: number): Promise<MachineDisk> {
  const described = { name: `disk${index}`, slot: disk.slot, path: disk.path };
  try {
    const format = await formatOf(disk);
    return { ...described, format, size: await virtualSize(disk.path, format) };
  } catch (error) {
    const excluded = toPrimaError(error, `looking at ${disk.path}`).message;
    return { ...described, format: disk.format ?? 'unknown', size: 0, excluded };
  }
}

async function virtualSize(path: string, format: DiskFormat): Promise<number> {
  const info = await stat(path);
  if (format === 'raw' && info.isFile()) return Math.ceil(info.size / 512) * 512;
  return (await imageInfo(path, format)).virtualSize;
}

/** What cold backups ask of a disk file. */
export interface DiskFile {
  bitmaps: DirtyBitmap[];
  internalSnapshots: boolean;
  /** It can hold bitmaps. */
  keepsBitmaps: boolean;
}

export async function diskFile(path: string, format: DiskFormat): Promise<DiskFile> {
  if (format !== 'qcow2') return { bitmaps: [], internalSnapshots: false, keepsBitmaps: false };
  const { bitmaps } = await imageInfo(path, format);
  const { version, snapshots } = await qcow2Facts(path);
  return {
    internalSnapshots: snapshots > 0,
    keepsBitmaps: version >= 3,
    bitmaps: bitmaps.map(({ name, granularity, flags }) => ({
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

/** docs/interop/qcow2.txt of QEMU: version at 4, nb_snapshots at 60, big-endian. */
async function qcow2Facts(path: string): Promise<{ version: number; snapshots: number }> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(72), 0, 72, 0);
  if (bytesRead < 72) throw new FormatError(`${path} is too short for a qcow2 file`);
  return { version: buffer.readUInt32BE(4), snapshots: buffer.readUInt32BE(60) };
}

/** Raises `remote` when it would become smaller. */
export async function resizeDisk(path: string, format: 'raw' | 'qcow2', size: number): Promise<void> {
  await runProgram('qemu-img', ['resize', '-q', '-f', format, path, String(size)]);
}
