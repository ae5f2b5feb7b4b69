/** Operations on restore points: list, show, compare, lock, forget. */
import type { ForgetRequest, ForgetResult, LockRequest, PointDto, PrimaApi } from '@prima/api';
import { PrimaError, throwIfAborted, UserError } from '@prima/base';
import {
  decideRetention,
  diffPoints,
  endOfTime,
  isLocked,
  pointPartitions,
  pointsOfMachine,
  resolvePoint,
} from '@prima/engine';
import type { Point, Repository } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { partitionTableDto, pointDto } from '../dto.ts';

export type PointOperations = Pick<PrimaApi, 'points' | 'show' | 'diff' | 'lock' | 'forget'>;

export function pointOperations(context: Context): PointOperations {
  return {
    points: ({ machine, tags = [] }, options) =>
      context.run(options, async () => {
        const all = await (await context.repository()).points();
        const own = machine === undefined ? all : pointsOfMachine(all, machine);
        return own.filter((point) => tags.every((tag) => point.tags.includes(tag))).map(pointDto);
      }),
    show: ({ point, partitions }, options) =>
      context.run(options, async (call) => {
        const repository = await context.repository();
        const found = await namedPoint(repository, point);
        const shown = pointDto(found);
        if (!partitions) return shown;
        const tables = await pointPartitions(repository, found, call.signal);
        const disks = shown.disks.map((disk, i) => ({
          ...disk,
          partitionTable: partitionTableDto(tables[i]),
        }));
        return { ...shown, disks };
      }),
    diff: (request, options) =>
      context.run(options, async () => {
        const repository = await context.repository();
        const a = await namedPoint(repository, request.a);
        const b = await namedPoint(repository, request.b);
        return { a: pointDto(a), b: pointDto(b), ...(await diffPoints(repository, a, b)) };
      }),
    lock: (request, options) =>
      context.run(options, async (call) => lock(await context.repository(), request, call)),
    forget: (request, options) =>
      context.run(options, async (call) => forget(await context.repository(), request, call)),
  };
}

/** The point that `text` names; see the engine's `resolvePoint`. */
export async function namedPoint(repository: Repository, text: string): Promise<Point> {
  return resolvePoint(await repository.points(), text);
}

async function lock(
  repository: Repository,
  { points: names, until, forMs }: LockRequest,
  { signal, logger, onProgress }: Call,
): Promise<PointDto[]> {
  if (names.length === 0) throw new UserError('usage', 'no point is named to be locked');
  if ((until === undefined) === (forMs === undefined)) {
    throw new UserError('usage', 'say either until when the lock lasts (--until) or for how long (--for)');
  }
  const end = until === undefined ? Date.now() + (forMs ?? 0) : endOfTime(until);
  const all = await repository.points();
  const locked: PointDto[] = [];
  for (const point of new Set(names.map((text) => resolvePoint(all, text)))) {
    throwIfAborted(signal, `locking points (${locked.length} are locked)`);
    const now = await repository.lock(point, end, {
      signal,
      onProgress: (progress) => onProgress(point.machine.name, progress),
    });
    logger.info(`${point.id.slice(0, 12)} of ${point.machine.name} is locked until ${now.lockedUntil}`);
    locked.push(pointDto(now));
  }
  return locked;
}

interface Decision {
  point: Point;
  keep: boolean;
  reasons: string[];
}

async function forget(
  repository: Repository,
  request: ForgetRequest,
  { signal, logger }: Call,
): Promise<ForgetResult> {
  const dryRun = request.dryRun ?? false;
  const decisions = decide(await repository.points(), request);
  for (const { point, keep } of decisions) if (!keep) assertUnlocked(point);
  const forgotten: Point[] = [];
  for (const { point, keep } of decisions) {
    if (keep) continue;
    throwIfAborted(signal, `forgetting points (${forgotten.length} are forgotten)`);
    if (!dryRun) {
      await repository.forget(point);
      logger.info(`forgot ${point.id.slice(0, 12)} of ${point.machine.name}, ${point.time}`);
    }
    forgotten.push(point);
  }
  const kept = decisions.filter(({ keep }) => keep);
  return {
    dryRun,
    kept: kept.map(({ point, reasons }) => ({ point: pointDto(point), reasons })),
    forgotten: forgotten.map(pointDto),
  };
}

/** Raises before anything is forgotten, also in a dry run. Rules keep what is locked. */
function assertUnlocked(point: Point): void {
  if (!isLocked(point, Date.now())) return;
  throw new PrimaError(
    'refused',
    `the restore point ${point.id.slice(0, 12)} of ${point.machine.name} is locked until ${point.lockedUntil}; ` +
      'nobody can forget it before; nothing was forgotten',
  );
}

/** What to do with each point that the request is about. */
function decide(points: readonly Point[], request: ForgetRequest): Decision[] {
  const { machine, points: named, keep, keepTags = [] } = request;
  const own = machine === undefined ? points : pointsOfMachine(points, machine);
  if (named === undefined || named.length === 0) {
    return decideRetention(own, { rules: keep ?? {}, keepTags });
  }
  if (keep !== undefined && Object.values(keep).some((count) => count !== undefined)) {
    throw new UserError('usage', 'either name the points to forget or give rules what to keep, not both');
  }
  const chosen = new Set(named.map((text) => resolvePoint(own, text)));
  return [...chosen].map((point) => {
    const tag = point.tags.find((text) => keepTags.includes(text));
    return { point, keep: tag !== undefined, reasons: tag === undefined ? [] : [`tag ${tag}`] };
  });
}
