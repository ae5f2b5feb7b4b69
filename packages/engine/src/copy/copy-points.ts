/**
 * Copies restore points from one repository to another, whatever their keys, chunk sizes and stores. Every chunk
 * is opened and verified in the source and written like a backup's: what the target has is not stored again, and
 * where it has a copy of another point of the machine only what differs is read. Each point is committed on its
 * own, so that a copy that was ended anyhow goes on where it was when it is run again.
 */
import { join } from 'node:path';
import {
  type Logger,
  PrimaError,
  type ProgressListener,
  silentLogger,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { Point, PointDisk, Repository, WriteSession } from '@prima/repository';
import { lockFrom } from '../backup/backup.ts';
import { acquireLock } from '../lock.ts';
import { Copies, originOf } from './copies.ts';
import { type Base, changesSince, dataIn } from './disk-changes.ts';
import { assertSamePoint } from './same-point.ts';

export interface CopyOptions {
  /** Of the source; copied oldest first. */
  points: readonly Point[];
  /** Only say what would be copied. */
  dryRun?: boolean;
  /** Read both afterwards and compare them, those that were copied earlier too. */
  verify?: boolean;
  /** Default: as the target says. */
  readBack?: boolean;
  /** Nobody can forget the copies for so long, milliseconds. Default: as the target says. */
  lockMs?: number;
  /** Where locks are: one copy at a time into one repository. */
  lockFolder: string;
  signal?: AbortSignal;
  logger?: Logger;
  /** @param subject what is being copied: "web01 disk0" */
  onProgress?: (subject: string, progress: Parameters<ProgressListener>[0]) => void;
}

/** What became of one point. */
export interface PointCopy {
  /** The source's. */
  point: Point;
  /** `present`: it had been copied before; `planned`: it would be copied. */
  state: 'copied' | 'present' | 'planned' | 'failed';
  /** The target's. */
  copy?: Point;
  /** Bytes read from the source; for a planned copy those that would be, at most. */
  bytes: number;
  /** True when both were read and hold the same. */
  verified: boolean;
  error?: PrimaError;
  elapsedMs: number;
}

/**
 * Copies `options.points` from `source` to `target`, both open. A point that cannot be copied (its data is damaged,
 * say) fails on its own, the others are copied all the same. Raises `usage` when both are one repository, `busy`
 * when another copy into the target runs here, `cancelled`; points that were copied by then stay.
 */
export async function copyPoints(
  source: Repository,
  target: Repository,
  options: CopyOptions,
): Promise<PointCopy[]> {
  if (source.id === target.id) {
    throw new UserError(
      'usage',
      `${source.url} and ${target.url} are one repository (${source.id}), or copies of its files; points are copied to another repository: make one with prima init`,
    );
  }
  const what = `copying from ${source.url} to ${target.url}`;
  await using _lock = options.dryRun
    ? undefined
    : await acquireLock(join(options.lockFolder, `copy-${target.id}.lock`), what);
  const copies = new Copies(
    { id: source.id, points: await source.points() },
    { id: target.id, points: await target.points() },
  );
  const work = new PointCopier({ source, target, options, copies });
  const results: PointCopy[] = [];
  for (const point of options.points.toSorted(oldestFirst)) {
    throwIfAborted(options.signal, `${what} (${results.length} of ${options.points.length} points are done)`);
    results.push(await work.copy(point));
  }
  return results;
}

function oldestFirst(a: Point, b: Point): number {
  return Date.parse(a.time) - Date.parse(b.time) || (a.id < b.id ? -1 : 1);
}

interface Work {
  source: Repository;
  target: Repository;
  options: CopyOptions;
  copies: Copies;
}

type Result = Pick<PointCopy, 'state' | 'copy' | 'bytes'>;

class PointCopier {
  readonly #work: Work;
  readonly #logger: Logger;

  constructor(work: Work) {
    this.#work = work;
    this.#logger = work.options.logger ?? silentLogger;
  }

  /** Does what is to be done with one point; only cancelling raises. */
  async copy(point: Point): Promise<PointCopy> {
    const { signal } = this.#work.options;
    const started = performance.now();
    const elapsedMs = () => performance.now() - started;
    const doing = `copying ${nameOf(point)}`;
    let result: Result = { state: 'failed', bytes: 0 };
    try {
      result = await this.#stepFor(point)(point);
      const verified = await this.#verify(point, result.copy);
      return { point, ...result, verified, elapsedMs: elapsedMs() };
    } catch (error) {
      throwIfAborted(signal, doing);
      const failure = toPrimaError(error, doing);
      this.#logger.error(`${doing}: ${failure.message}`);
      return { point, ...result, state: 'failed', verified: false, error: failure, elapsedMs: elapsedMs() };
    }
  }

  #stepFor(point: Point): (point: Point) => Promise<Result> {
    const { copies, options } = this.#work;
    const copy = copies.copyOf(point);
    if (copy) return async () => ({ state: 'present', copy, bytes: 0 });
    return options.dryRun ? (wanted) => this.#plan(wanted) : (wanted) => this.#write(wanted);
  }

  async #plan(point: Point): Promise<Result> {
    const { source, copies } = this.#work;
    const base = copies.baseFor(point);
    let bytes = point.files.reduce((sum, { length }) => sum + length, 0);
    for (const disk of disksOf(point)) bytes += await dataIn(source, point, disk, base);
    copies.add({ point, copy: undefined });
    return { state: 'planned', bytes };
  }

  async #write(point: Point): Promise<Result> {
    const { source, target, options, copies } = this.#work;
    const { repository, point: first } = originOf(source.id, point);
    const session = await target.beginBackup({
      readBack: options.readBack,
      machine: `copy of ${first} of ${repository}`, // what a copy that was interrupted has stored is not that of a backup
      signal: options.signal,
    });
    let copy: Point;
    try {
      const draft = await this.#writeAll(session, point);
      throwIfAborted(options.signal, `copying ${nameOf(point)}`);
      copy = await session.commit({ ...draft, ...lockFrom(Date.now(), options.lockMs) });
    } catch (error) {
      const failure = toPrimaError(error, `copying ${nameOf(point)}`);
      await this.#abort(session, failure);
      throw failure;
    }
    copies.add({ point, copy });
    this.#logger.info(`copied ${nameOf(point)}: it is ${copy.id.slice(0, 12)} in ${target.url}`);
    const files = copy.files.reduce((sum, { length }) => sum + length, 0);
    const bytes = disksOf(copy).reduce((sum, { figures }) => sum + figures.read, files);
    return { state: 'copied', copy, bytes };
  }

  /** A failure to clean up does not hide the one that led to it; a collection removes what is left. */
  async #abort(session: WriteSession, failure: PrimaError): Promise<void> {
    try {
      await session.abort(failure.message);
    } catch (error) {
      this.#logger.warn(toPrimaError(error, `ending a copy to ${this.#work.target.url}`).message);
    }
  }

  /**
   * The point as it is in the source, but for what belongs to a repository: ids, places, figures. Its checkpoint
   * stays behind, too: a backup into the target must not build on what another repository tracks.
   */
  async #writeAll(session: WriteSession, point: Point): Promise<Omit<Point, 'id'>> {
    const { source, copies } = this.#work;
    const base = copies.baseFor(point);
    const kept = withoutPlaces(point);
    const disks: PointDisk[] = [];
    for (const disk of point.disks) disks.push(await this.#writeDisk(session, { point, disk, base }));
    const memory =
      point.memory && (await this.#writeDisk(session, { point, disk: point.memory, base, name: 'memory' }));
    const files = [];
    for (const { name } of point.files) {
      files.push(await session.writeFile(name, await source.readFile(point, name)));
    }
    const origin = originOf(source.id, point);
    return {
      ...kept,
      origin,
      disks,
      files,
      ...(memory && { memory }),
      ...(base?.copy && { parent: base.copy.id }),
    };
  }

  async #writeDisk(
    session: WriteSession,
    { point, disk, base, name = disk.name }: { point: Point; disk: PointDisk; base?: Base; name?: string },
  ): Promise<PointDisk> {
    const { source, options } = this.#work;
    const subject = `${point.machine.name} ${name}`;
    const { changed, parent, ...told } = await changesSince(source, disk, base);
    const { whyFull: _before, ...kept } = disk;
    await using stack = new AsyncDisposableStack();
    const device = await source.openDisk(point, name);
    stack.defer(() => device.close());
    const { root, figures, parentGone } = await session.writeDisk({
      name,
      device,
      changed,
      parent,
      // told by content: there is nothing to distrust, and what is damaged here may be sound in the target
      sampleChunks: 0,
      signal: options.signal,
      onProgress: (progress) => options.onProgress?.(subject, progress),
    });
    const why = parentGone ? 'the point copied before was forgotten in the target' : told.whyFull;
    return {
      ...kept,
      root,
      figures,
      changed: changed && !parentGone ? 'tracked' : 'all',
      ...(why !== undefined && { whyFull: why }),
    };
  }

  async #verify(point: Point, copy: Point | undefined): Promise<boolean> {
    const { source, target, options, copies } = this.#work;
    if (!options.verify || options.dryRun || copy === undefined) return false;
    const { signal, onProgress } = options;
    try {
      await assertSamePoint(
        { repository: source, point },
        { repository: target, point: copy },
        {
          signal,
          onProgress,
        },
      );
    } catch (error) {
      copies.distrust(point);
      throw error;
    }
    return true;
  }
}

/** A lock is the source's promise; the target makes its own. */
function withoutPlaces(point: Point): Omit<Point, 'id' | 'memory' | 'parent' | 'checkpoint'> {
  const { id: _id, parent: _parent, checkpoint: _checkpoint, memory: _memory, ...rest } = point;
  const { lockedUntil: _locked, retainedUntil: _retained, ...kept } = rest;
  return kept;
}

function disksOf(point: Point): PointDisk[] {
  return point.memory ? [...point.disks, point.memory] : point.disks;
}

/** `web01 (1f2e3d4c5b6a, 2026-03-04T12:30:05.000Z)`. */
function nameOf({ machine, id, time }: Point): string {
  return `${machine.name} (${id.slice(0, 12)}, ${time})`;
}
