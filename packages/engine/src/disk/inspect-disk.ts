/** What a disk file is and holds: for people who look at one, without a machine or a repository. */
import { stat } from 'node:fs/promises';
import { toPrimaError } from '@prima/base';
import { type Comparison, compareDevices, type Extent } from '@prima/block';
import { type PartitionTable, readPartitions } from '@prima/formats';
import { describeVmdk, type VmdkDescription } from './describe-vmdk.ts';
import { openDiskFile, type OpenedDiskFile } from './open-disk.ts';

export interface NamedDisk {
  path: string;
  /** Where name and content do not tell it. */
  format?: string;
  /** Folders in which a VMDK's extents and parents may be, besides its own. */
  allowed?: readonly string[];
}

export interface DiskFileInfo extends Pick<OpenedDiskFile, 'format' | 'reason' | 'basedOn'> {
  /** Bytes of the disk, and of these what may hold data, through all files that it is based on. */
  size: number;
  data: number;
  /** Bytes of its own file, and of these what is allocated. */
  fileSize: number;
  allocated: number;
  partitions: PartitionTable;
  vmdk?: VmdkDescription;
}

/** Raises what `openDiskFile` does. */
export async function inspectDisk(disk: NamedDisk, signal?: AbortSignal): Promise<DiskFileInfo> {
  await using opened = await open(disk, signal);
  const { device, format, reason, basedOn, vmdk } = opened;
  const file = await stat(disk.path).catch((error: unknown) => {
    throw toPrimaError(error, `looking at ${disk.path}`);
  });
  const partitions = await readPartitions(device, signal);
  let data = 0;
  for await (const { kind, length } of device.extents({ offset: 0, length: device.size }, { signal }))
    if (kind === 'data') data += length;
  const sizes = { size: device.size, data, fileSize: file.size, allocated: file.blocks * 512 };
  return { format, reason, basedOn, ...sizes, partitions, ...(vmdk && { vmdk: describeVmdk(vmdk) }) };
}

export interface DiskMap {
  size: number;
  /** Ascending, gapless; the first ones only where there are more than were asked for. */
  extents: Extent[];
  /** Bytes of each kind in all of the disk. */
  bytes: Record<Extent['kind'], number>;
  complete: boolean;
}

/** What is where on the disk, at most `limit` extents of it; the sums are those of all. */
export async function mapDisk(disk: NamedDisk, limit: number, signal?: AbortSignal): Promise<DiskMap> {
  await using opened = await open(disk, signal);
  const { device } = opened;
  const map: DiskMap = {
    size: device.size,
    extents: [],
    bytes: { data: 0, zero: 0, hole: 0 },
    complete: true,
  };
  for await (const extent of device.extents({ offset: 0, length: device.size }, { signal })) {
    map.bytes[extent.kind] += extent.length;
    if (map.extents.length < limit) map.extents.push(extent);
    else map.complete = false;
  }
  return map;
}

export interface DiskComparison extends Comparison {
  sizes: { a: number; b: number };
}

/** Where two disks differ, whatever their formats; see `compareDevices`. */
export async function compareDisks(
  a: NamedDisk,
  b: NamedDisk,
  { limit, signal }: { limit?: number; signal?: AbortSignal },
): Promise<DiskComparison> {
  await using first = await open(a, signal);
  await using second = await open(b, signal);
  const found = await compareDevices(first.device, second.device, { limit, signal });
  return { ...found, sizes: { a: first.device.size, b: second.device.size } };
}

async function open(
  { path, ...named }: NamedDisk,
  signal: AbortSignal | undefined,
): Promise<OpenedDiskFile & AsyncDisposable> {
  const opened = await openDiskFile(path, { ...named, option: '--format', signal });
  return { ...opened, [Symbol.asyncDispose]: () => opened.device.close() };
}
