/** A machine's disk files as they lie there: format, size, bitmaps; made and resized through qemu-img. */
import { open, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { FormatError, PrimaError, runProgram, toPrimaError } from '@prima/base';
import { detectFormat, type DiskFormat, diskItself, isDiskFormat, readRedoRecord } from '@prima/formats';
import {
  type FoundLun,
  imageChain,
  type ImageFile,
  imageInfo,
  locateDevice,
  mappingPlace,
  physicalMode,
  readMapping,
} from '@prima/qemu';
import type { MachineDisk, MachineLog } from '../platform.ts';
import { logNode, type NamedImage, nodeName } from './command-line.ts';
import { diskMode } from './disk-modes.ts';
import type { DiskConfig, MachineConfig } from './machine-config.ts';
import type { DirtyBitmap } from './qemu-blocks.ts';

/** The format that was recorded for the disk, or the one that shows; see `detectFormat` for what can go wrong. */
export async function formatOf(disk: Pick<DiskConfig, 'path' | 'format'>): Promise<DiskFormat> {
  if (disk.format === undefined) return detectFormat(disk.path);
  if (isDiskFormat(disk.format)) return disk.format;
  throw new PrimaError(
    'unsupported',
    `the .vmx calls ${disk.path} ${disk.format}, a format that Prima does not read`,
  );
}

/** The files of all disks, by slot: redo logs, the disk, and what it is based on, top first. */
export async function diskChains(config: MachineConfig): Promise<Map<string, NamedImage[]>> {
  const chains = new Map<string, NamedImage[]>();
  for (const disk of config.disks) {
    const { path, format, logs, mapped } = await topOf(disk);
    const nodes = [...logs.map(({ id }) => logNode(id)).toReversed(), nodeName(disk.slot)];
    const files = mapped ? await deviceChain(disk.path, mapped) : await imageChain(path, format);
    chains.set(
      disk.slot,
      files.map((file, index) => ({ ...file, node: nodes[index] })),
    );
  }
  return chains;
}

/** The guest is given the whole device: it has to be as large as the disk. */
async function deviceChain(path: string, { device, size }: MappedDisk): Promise<ImageFile[]> {
  const { chain, virtualSize: found } = await imageInfo(device, 'raw');
  if (found === size) return chain;
  throw new PrimaError(
    'state',
    `${path} maps ${size} bytes of ${device}, which has ${found} now; make a new mapping of it (prima disk rdm create)`,
  );
}

/** Why a mapping of a machine has none. */
export const logsOverMapping =
  'it is a raw device mapping: redo logs of a machine name the file beneath them, and a device has another name tomorrow; ' +
  'with its machine off it can have those of prima disk redo add';

interface MappedDisk extends FoundLun {
  /** Bytes of the disk. */
  size: number;
}

interface DiskTop {
  path: string;
  format: DiskFormat;
  /** Bottom up. */
  logs: MachineLog[];
  /** In place of the file at `path`, where that is a raw device mapping. */
  mapped?: MappedDisk;
}

/**
 * What is opened to see the disk as the guest does, and the redo logs that it is read through. Raises `unsupported` for a mapping
 * in physical mode, and for one that has redo logs; what finding its device raises.
 */
export async function topOf(disk: Pick<DiskConfig, 'path' | 'format'>): Promise<DiskTop> {
  const record = await readRedoRecord(disk.path);
  const gone = record?.doing?.do === 'discard' ? record.doing.id : undefined;
  const folder = dirname(await diskItself(disk.path));
  const logs = (record?.logs ?? [])
    .filter(({ id }) => id !== gone)
    .map(({ id, files, purpose, made }) => ({ id, path: join(folder, files[0]), purpose, made }));
  const top = logs.at(-1);
  if (!record || !top) return bottomOf(disk);
  if (record.kind === 'cowd' && (await mappingPlace(disk.path)))
    throw new PrimaError('unsupported', `${disk.path} has redo logs, but ${logsOverMapping}`);
  return { path: top.path, format: record.kind === 'cowd' ? 'vmdk' : 'qcow2', logs };
}

async function bottomOf(disk: Pick<DiskConfig, 'path' | 'format'>): Promise<DiskTop> {
  const bottom: DiskTop = { path: disk.path, format: await formatOf(disk), logs: [] };
  const place = bottom.format === 'vmdk' ? await mappingPlace(disk.path) : undefined;
  if (!place) return bottom;
  if (place.mode === 'physical') throw physicalMode(disk.path);
  const mapping = await readMapping(place.mapping);
  const device = await locateDevice(mapping, () => undefined);
  return { ...bottom, mapped: { device, identities: mapping.identities, size: place.size } };
}

/** The format of a disk that is not excluded. */
export function knownFormat({ format, path }: MachineDisk): DiskFormat {
  if (isDiskFormat(format)) return format;
  throw new PrimaError('unsupported', `${path} is ${format}, a format that Prima does not read`);
}

/** All disks, as they are now: redo logs may have come or gone since the machine was looked at. */
export async function describeDisks({ disks }: Pick<MachineConfig, 'disks'>): Promise<MachineDisk[]> {
  return Promise.all(disks.map((disk, index) => describeDisk(disk, index)));
}

/** How the disk looks; what is wrong with it is in `excluded`. */
async function describeDisk(disk: DiskConfig, index: number): Promise<MachineDisk> {
  const described = { name: `disk${index}`, slot: disk.slot, path: disk.path, mode: diskMode(disk.mode) };
  try {
    const { path, format, logs, mapped } = await topOf(disk);
    if (mapped) {
      const { size, device, identities } = mapped;
      return { ...described, format, size, lun: { device, identities } };
    }
    const size = await virtualSize(path, format);
    return { ...described, path, format, size, ...(logs.length > 0 && { logs, base: disk.path }) };
  } catch (error) {
    const excluded = toPrimaError(error, `looking at ${disk.path}`).message;
    return { ...described, format: disk.format ?? 'unknown', size: 0, excluded };
  }
}

export async function virtualSize(path: string, format: DiskFormat): Promise<number> {
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
