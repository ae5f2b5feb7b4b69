/** What of a disk differs from one that has been copied, told by the source's pages: no data is read. */
import { PrimaError, type Range } from '@prima/base';
import type { Point, PointDisk, Repository, RootRef } from '@prima/repository';
import type { CopiedPoint } from './copies.ts';

/** A point of the same machine that the target has, too. */
export type Base = CopiedPoint;

export interface DiskChanges {
  /** Undefined: everything. */
  changed?: Range[];
  /** In the target; there with `changed`, but in a dry run. */
  parent?: { point: string; root: RootRef };
  /** Why everything is read although there is a base. */
  whyFull?: string;
}

/** What differs between `disk` and the base's disk of that name. Pages that cannot be read cost a full reading. */
export async function changesSince(
  source: Repository,
  disk: PointDisk,
  base: Base | undefined,
): Promise<DiskChanges> {
  if (!base) return {};
  const { point, copy } = base;
  const before = diskLike(point, disk);
  const copied = copy && diskLike(copy, disk);
  const short = point.id.slice(0, 8);
  if (!before || (copy && !copied))
    return { whyFull: `the point copied before (${short}) has no ${disk.name}` };
  if (before.size !== disk.size || (copied && copied.size !== disk.size)) {
    return { whyFull: `the disk had ${before.size} bytes in ${short} and has ${disk.size} here` };
  }
  try {
    const changed = await source.difference(before, disk);
    return { changed, ...(copy && copied && { parent: { point: copy.id, root: copied.root } }) };
  } catch (error) {
    if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    return { whyFull: `its pages cannot be compared with those of ${short}: ${error.message}` };
  }
}

/** Bytes of `disk` that a copy would read: those of chunks that hold data and differ from the base's. */
export async function dataIn(
  source: Repository,
  point: Point,
  disk: PointDisk,
  base: Base | undefined,
): Promise<number> {
  const { changed = [{ offset: 0, length: disk.size }] } = await changesSince(source, disk, base);
  const device = await source.openDisk(point, disk === point.memory ? 'memory' : disk.name);
  try {
    let bytes = 0;
    for (const range of changed) {
      for await (const { kind, length } of device.extents(range)) if (kind === 'data') bytes += length;
    }
    return bytes;
  } finally {
    await device.close();
  }
}

/** The disk of that name (and slot), or the memory where `disk` is memory: it is never among the disks. */
function diskLike(point: Point, disk: PointDisk): PointDisk | undefined {
  const found = point.disks.find(({ name, slot }) => name === disk.name && slot === disk.slot);
  return found ?? (point.memory?.name === disk.name ? point.memory : undefined);
}
