/** What a restore to a folder writes: the names, pure, so that nothing is begun that cannot be finished. */
import { IntegrityError, UserError } from '@prima/base';
import { mappingName, type MappingFile } from '@prima/formats';
import type { Point, PointDisk } from '@prima/repository';
import type { ImageFormat } from '../disk/write-disk.ts';

export type PlannedFile =
  | { kind: 'disk'; name: string; disk: PointDisk; format: ImageFormat }
  /** In place of a disk: the descriptor of a mapping of the device that it was; `mappingName` says the other file. */
  | { kind: 'mapping'; name: string; disk: PointDisk; lun: MappingFile }
  /** The machine's memory, opaque, as a raw file. */
  | { kind: 'memory'; name: string; disk: PointDisk; format: 'raw' }
  | { kind: 'file'; name: string; file: string };

export interface PlanOptions {
  /** Default `raw`. */
  format?: ImageFormat;
  /** Only this disk (its name, slot or number), without the other files. */
  disk?: string;
}

/** The devices that disks stand for again, by the disks' names. */
export type FoundLuns = ReadonlyMap<string, MappingFile>;

/** The disks of the plan. */
export function plannedDisks(point: Point, { disk }: PlanOptions): readonly PointDisk[] {
  return disk === undefined ? point.disks : [selectDisk(point, disk)];
}

/**
 * The files of `point`: its disks as `<disk name>.<format>` (`<machine>-disk0.raw` for a bare disk), its
 * memory as `memory.raw`, and its configuration. Raises `not-found` for an unknown disk, `integrity` when
 * two files would have one name or one would lie elsewhere.
 */
export function planFolder(
  point: Point,
  options: PlanOptions = {},
  luns: FoundLuns = new Map(),
): PlannedFile[] {
  const { format = 'raw' } = options;
  const bare = point.files.length === 0;
  const planned: PlannedFile[] = plannedDisks(point, options).map((disk) => {
    const name = `${bare ? `${point.machine.name}-` : ''}${disk.name}`;
    const lun = luns.get(disk.name);
    if (lun) return { kind: 'mapping', name: `${name}.vmdk`, disk, lun };
    return { kind: 'disk', name: `${name}.${format}`, disk, format };
  });
  if (options.disk === undefined) {
    if (point.memory) planned.push({ kind: 'memory', name: 'memory.raw', disk: point.memory, format: 'raw' });
    for (const { name } of point.files) planned.push({ kind: 'file', name, file: name });
  }
  assertNames(planned, point);
  return planned;
}

/** A disk of a point by its name, slot, or number in the list from 0. Raises `not-found`. */
export function selectDisk(point: Point, text: string): PointDisk {
  const found =
    point.disks.find((disk) => disk.name === text) ??
    point.disks.find((disk) => disk.slot === text) ??
    (/^\d{1,4}$/.test(text) ? point.disks[Number(text)] : undefined);
  if (found) return found;
  const known = point.disks.map((disk) => (disk.slot ? `${disk.name} (${disk.slot})` : disk.name));
  const skipped = point.skipped.find(({ name }) => name === text);
  const why = skipped ? `; it is not in this point: ${skipped.why}` : '';
  throw new UserError(
    'not-found',
    `the point ${point.id.slice(0, 12)} has no disk "${text}"${why}; it has ${known.join(', ') || 'none'}`,
  );
}

/** A name that comes from a repository is not trusted to stay in the folder. */
function assertNames(planned: readonly PlannedFile[], point: Point): void {
  const seen = new Set<string>();
  for (const name of planned.flatMap(namesOf)) {
    const plain = /^[^/\0]{1,255}$/.test(name) && !name.startsWith('.');
    if (!plain || seen.has(name)) {
      throw new IntegrityError(
        `the point ${point.id} cannot be restored to a folder: "${name}" is ${plain ? 'there twice' : 'no plain file name'}`,
      );
    }
    seen.add(name);
  }
}

/** All files of a planned one. */
export function namesOf({ kind, name }: PlannedFile): string[] {
  return kind === 'mapping' ? [name, mappingName(name, 'virtual')] : [name];
}
