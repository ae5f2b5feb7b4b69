/** What points reach: all of it once, and then again to name what is lost. */
import { PrimaError, type Range, throwIfAborted } from '@prima/base';
import { type Context, hexOf, idFromHex } from '../context.ts';
import type { CheckFault } from '../contract.ts';
import type { Point, PointDisk } from '../point.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { IdSet } from '../index/id-table.ts';
import type { RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';

export interface Reach {
  /** Numbers of the packs that hold something of the points. */
  packs: Set<number>;
  /** Ids, as hex digits, that are in no pack of the index. */
  missing: Set<string>;
}

interface Where {
  context: Context;
  index: RepositoryIndex;
  points: readonly Point[];
}

/** Ranges that one fault names at most. */
const maxAffected = 10_000;

/** Reads every page of the points once; damaged ones are noted in the context. Raises what the store raises. */
export async function reachOf(where: Where, signal?: AbortSignal): Promise<Reach> {
  const reach: Reach = { packs: new Set(), missing: new Set() };
  const visit = (id: Uint8Array) => {
    const place = where.index.find(id);
    if (place) reach.packs.add(place.pack);
    else reach.missing.add(hexOf(id));
  };
  await walkPoints(where, visit, signal);
  return reach;
}

/** Visits once each blob that the points reach, but what is below pages that are damaged. */
export async function walkPoints(
  { context, index, points }: Where,
  visit: (id: Uint8Array) => void,
  signal?: AbortSignal,
): Promise<void> {
  const tree = new PageTree(context, new BlobReader(context, index));
  const seen = new IdSet(index.size);
  const visitOnce = (id: Uint8Array): boolean => {
    const isNew = seen.add(id);
    if (isNew) visit(id);
    return isNew;
  };
  for (const point of points) {
    for (const file of point.files) for (const id of file.ids) visitOnce(idFromHex(id));
    for (const disk of disksOf(point)) {
      throwIfAborted(signal, 'checking the repository');
      await tree.walk(disk.root, disk.size, {
        page: visitOnce,
        chunk: visitOnce,
        onError: onlyDamage,
        signal,
      });
    }
  }
}

/** Adds to each fault which points, disks and ranges it takes away. `faultOf` tells the fault of a lost blob. */
export async function nameAffected(
  where: Where,
  faultOf: (id: Uint8Array) => CheckFault | undefined,
): Promise<void> {
  const { context, index, points } = where;
  const tree = new PageTree(context, new BlobReader(context, index));
  for (const point of points) {
    const hit = (disk: string, id: Uint8Array, range: Range) => {
      const fault = faultOf(id);
      if (fault) addAffected(fault, point, { disk, ...range });
    };
    for (const { name, ids, length } of point.files) {
      for (const id of ids) hit(name, idFromHex(id), { offset: 0, length });
    }
    for (const disk of disksOf(point)) {
      await tree.walk(disk.root, disk.size, {
        page: () => true,
        chunk: (id, range) => hit(disk.name, id, range),
        onError: (error, range, id) => {
          onlyDamage(error);
          hit(disk.name, id, range);
        },
      });
    }
  }
}

function addAffected(
  { affected }: CheckFault,
  point: Point,
  { disk, offset, length }: Range & { disk: string },
): void {
  const last = affected.at(-1);
  if (last?.point === point.id && last.disk === disk && last.offset + last.length === offset) {
    last.length += length;
  } else if (affected.length < maxAffected) {
    affected.push({ point: point.id, machine: point.machine.name, disk, offset, length });
  }
}

function onlyDamage(error: unknown): void {
  if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
}

function disksOf(point: Point): PointDisk[] {
  return point.memory ? [...point.disks, point.memory] : point.disks;
}
