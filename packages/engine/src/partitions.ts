/** The partition tables of a restore point's disks, read through the point as any guest would read them. */
import { PrimaError } from '@prima/base';
import { type PartitionTable, readPartitions } from '@prima/formats';
import type { Point, Repository } from '@prima/repository';

export type { PartitionTable } from '@prima/formats';

/** One a disk, in the point's order. A disk that cannot be read gives a table with a note that says so. */
export async function pointPartitions(
  repository: Repository,
  point: Point,
  signal?: AbortSignal,
): Promise<PartitionTable[]> {
  const tables: PartitionTable[] = [];
  for (const { name } of point.disks) {
    const device = await repository.openDisk(point, name);
    try {
      tables.push(await readPartitions(device, signal));
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
      tables.push(unreadable(error.message));
    } finally {
      await device.close();
    }
  }
  return tables;
}

function unreadable(why: string): PartitionTable {
  const notes = [`the partition table cannot be read: ${why}`];
  return { kind: 'none', sectorSize: 512, partitions: [], notes, intact: false };
}
