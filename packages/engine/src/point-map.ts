/** Where the data of a restore point's disks lies, coarse enough for a picture. */
import { alignUp, PrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Point, Repository } from '@prima/repository';

const cellsAtMost = 256;
const sectorBytes = 512;

interface DiskMap {
  /** Of the disk, that one cell stands for; the last may stand for less. */
  cellBytes: number;
  /** Bytes that are data; the rest reads as zeros. */
  dataBytes: number;
  /** Bytes of data in each, 256 cells at most. */
  cells: number[];
  /** Why there are no cells. */
  note?: string;
}

/** One a disk, in the point's order. No data is read, only the pages that say where there is some. */
export async function pointMaps(
  repository: Repository,
  point: Point,
  signal?: AbortSignal,
): Promise<DiskMap[]> {
  const maps: DiskMap[] = [];
  for (const { name } of point.disks) {
    const device = await repository.openDisk(point, name);
    try {
      maps.push(await diskMap(device, signal));
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
      maps.push({ cellBytes: 0, dataBytes: 0, cells: [], note: `it cannot be read: ${error.message}` });
    } finally {
      await device.close();
    }
  }
  return maps;
}

export async function diskMap(
  device: Pick<BlockDevice, 'size' | 'extents'>,
  signal?: AbortSignal,
): Promise<DiskMap> {
  const { size } = device;
  const cellBytes = Math.max(sectorBytes, alignUp(Math.ceil(size / cellsAtMost), sectorBytes));
  const cells = Array.from({ length: Math.ceil(size / cellBytes) }, () => 0);
  let dataBytes = 0;
  for await (const { offset, length, kind } of device.extents(
    { offset: 0, length: size },
    { ...(signal && { signal }) },
  )) {
    if (kind !== 'data') continue;
    dataBytes += length;
    const end = offset + length;
    for (let cell = Math.floor(offset / cellBytes); cell * cellBytes < end; cell += 1) {
      const from = Math.max(offset, cell * cellBytes);
      cells[cell] = (cells[cell] ?? 0) + Math.min(end, (cell + 1) * cellBytes) - from;
    }
  }
  return { cellBytes, dataBytes, cells };
}
