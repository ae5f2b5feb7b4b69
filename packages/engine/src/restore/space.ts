/** Whether what is to be written has room, asked before anything is written. */
import { statfs } from 'node:fs/promises';
import { formatBytes, StorageError, toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Point, PointDisk, Repository } from '@prima/repository';
import type { DamageLog } from './damage-log.ts';

/** Bytes of `device` that hold data, by its extents. */
export async function dataBytes(device: BlockDevice, signal?: AbortSignal): Promise<number> {
  let total = 0;
  for await (const extent of device.extents({ offset: 0, length: device.size }, { signal })) {
    if (extent.kind === 'data') total += extent.length;
  }
  return total;
}

/** Bytes of the disks (the memory among them) of a point that hold data: compressed formats take less. */
export async function neededBytes(
  { repository, point, damage }: { repository: Repository; point: Point; damage: DamageLog },
  disks: readonly PointDisk[],
  signal?: AbortSignal,
): Promise<number> {
  let bytes = 0;
  for (const { name } of disks) {
    const device = await repository.openDisk(point, name, damage.opening(name));
    try {
      bytes += await dataBytes(device, signal);
    } finally {
      await device.close();
    }
  }
  return bytes;
}

/** Raises `no-space` when the file system of `folder` (which is there) has less than `bytes` left for us. */
export async function assertRoom(folder: string, bytes: number): Promise<void> {
  const found = await statfs(folder).catch((error: unknown) => {
    throw toPrimaError(error, `asking how much room ${folder} has`);
  });
  const free = found.bavail * found.bsize;
  if (free >= bytes) return;
  throw new StorageError(
    'no-space',
    `${folder} has ${formatBytes(free)} left, and ${formatBytes(bytes)} are needed; nothing was written`,
    { details: { folder, free, needed: bytes } },
  );
}
