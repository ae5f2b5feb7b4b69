/** Which restore points another repository has copies of, and which of them a new copy can be based on. Pure. */
import type { Point } from '@prima/repository';

export type PointOrigin = NonNullable<Point['origin']>;

/** What a point is, whichever repository it lies in: where it was first made. */
export function originOf(repositoryId: string, point: Point): PointOrigin {
  return point.origin ?? { repository: repositoryId, point: point.id };
}

/** A point of the source, and what the target has of it (nothing yet, where copies are only planned). */
export interface CopiedPoint {
  point: Point;
  copy: Point | undefined;
}

export class Copies {
  readonly #source: string;
  readonly #copies = new Map<string, Point>();
  /** Of each machine, what can be the base of another copy. */
  readonly #bases = new Map<string, CopiedPoint[]>();

  constructor(
    source: { id: string; points: readonly Point[] },
    target: { id: string; points: readonly Point[] },
  ) {
    this.#source = source.id;
    for (const point of target.points) {
      const key = keyOf(target.id, point);
      if (!this.#copies.has(key)) this.#copies.set(key, point);
    }
    for (const point of source.points) {
      const copy = this.copyOf(point);
      if (copy) this.add({ point, copy });
    }
  }

  /** The target's copy of `point` (or the point itself, where the source's is a copy of it). */
  copyOf(point: Point): Point | undefined {
    return this.#copies.get(keyOf(this.#source, point));
  }

  /** Remembers what has been copied, or in a dry run would have been. */
  add(copied: CopiedPoint): void {
    const { point, copy } = copied;
    if (copy) this.#copies.set(keyOf(this.#source, point), copy);
    const own = this.#bases.get(point.machine.id) ?? [];
    this.#bases.set(point.machine.id, [...own, copied]);
  }

  /** A copy that turned out not to be one is the base of nothing. */
  distrust(point: Point): void {
    const own = this.#bases.get(point.machine.id) ?? [];
    this.#bases.set(
      point.machine.id,
      own.filter((known) => known.point.id !== point.id),
    );
  }

  /** The copied point of the same machine that is nearest in time: it differs least. */
  baseFor(point: Point): CopiedPoint | undefined {
    const distance = (other: CopiedPoint) => Math.abs(Date.parse(other.point.time) - Date.parse(point.time));
    return (this.#bases.get(point.machine.id) ?? [])
      .filter((known) => known.point.id !== point.id)
      .reduce<CopiedPoint | undefined>(
        (best, known) => (best === undefined || distance(known) < distance(best) ? known : best),
        undefined,
      );
  }
}

function keyOf(repositoryId: string, point: Point): string {
  const { repository, point: id } = originOf(repositoryId, point);
  return `${repository}/${id}`;
}
