/** What differs between two points, told by their manifests: no data is read. */
import { type Range, totalLength } from '@prima/base';
import type { Point, PointDisk, PointFile, Repository } from '@prima/repository';

export interface DiskDiff {
  name: string;
  /** Set when only one of the points has the disk. */
  onlyIn?: 'a' | 'b';
  /** Bytes of chunks that differ; all of them where the sizes differ or one point lacks the disk. */
  changedBytes: number;
  /** Whole chunks, ascending, merged. */
  ranges: Range[];
}

export interface PointDiff {
  disks: DiskDiff[];
  files: { name: string; change: 'added' | 'removed' | 'changed' }[];
}

/** The differences from `a` to `b`. The points may be of different machines; disks are matched by name. */
export async function diffPoints(repository: Repository, a: Point, b: Point): Promise<PointDiff> {
  const disks: DiskDiff[] = [];
  for (const disk of a.disks) {
    const other = b.disks.find(({ name }) => name === disk.name);
    disks.push(other ? await diffDisk(repository, disk, other) : onlyIn('a', disk));
  }
  for (const disk of b.disks) {
    if (!a.disks.some(({ name }) => name === disk.name)) disks.push(onlyIn('b', disk));
  }
  return { disks, files: diffFiles(a.files, b.files) };
}

async function diffDisk(repository: Repository, a: PointDisk, b: PointDisk): Promise<DiskDiff> {
  if (a.size !== b.size) {
    const length = Math.max(a.size, b.size);
    return { name: a.name, changedBytes: length, ranges: [{ offset: 0, length }] };
  }
  const ranges = await repository.difference(a, b);
  return { name: a.name, changedBytes: totalLength(ranges), ranges };
}

function onlyIn(where: 'a' | 'b', { name, size }: PointDisk): DiskDiff {
  return { name, onlyIn: where, changedBytes: size, ranges: [{ offset: 0, length: size }] };
}

function diffFiles(a: readonly PointFile[], b: readonly PointFile[]): PointDiff['files'] {
  const before = new Map(a.map((file) => [file.name, file]));
  const after = new Map(b.map((file) => [file.name, file]));
  const names = [...new Set([...before.keys(), ...after.keys()])].sort();
  return names.flatMap((name): PointDiff['files'] => {
    const [old, now] = [before.get(name), after.get(name)];
    if (!old) return [{ name, change: 'added' }];
    if (!now) return [{ name, change: 'removed' }];
    const same = old.length === now.length && old.ids.join() === now.ids.join();
    return same ? [] : [{ name, change: 'changed' }];
  });
}
