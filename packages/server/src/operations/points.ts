/** Operations on restore points: list, show, compare, lock. What lists points does without the engine. */
import type { LockRequest, PointDto, PrimaApi, ShowRequest } from '@prima/api';
import { throwIfAborted, UserError } from '@prima/base';
import { endOfTime, type Point, pointsOfMachine, type Repository, resolvePoint } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { partitionTableDto, pointDto } from '../dto.ts';

export type PointOperations = Pick<PrimaApi, 'points' | 'show' | 'diff' | 'lock'>;

export function pointOperations(context: Context): PointOperations {
  return {
    points: ({ machine, tags = [] }, options) =>
      context.run(options, async () => {
        const all = await (await context.repository()).points();
        const own = machine === undefined ? all : pointsOfMachine(all, machine);
        return own.filter((point) => tags.every((tag) => point.tags.includes(tag))).map(pointDto);
      }),
    show: (request, options) =>
      context.run(options, async ({ signal }) => show(await context.repository(), request, signal)),
    diff: (request, options) =>
      context.run(options, async () => {
        const { diffPoints } = await import('@prima/engine');
        const repository = await context.repository();
        const a = await namedPoint(repository, request.a);
        const b = await namedPoint(repository, request.b);
        return { a: pointDto(a), b: pointDto(b), ...(await diffPoints(repository, a, b)) };
      }),
    lock: (request, options) =>
      context.run(options, async (call) => lock(await context.repository(), request, call)),
  };
}

/** The point that `text` names; see `resolvePoint`. */
export async function namedPoint(repository: Repository, text: string): Promise<Point> {
  return resolvePoint(await repository.points(), text);
}

async function show(
  repository: Repository,
  { point: name, partitions, map, verification }: ShowRequest,
  signal: AbortSignal,
): Promise<PointDto> {
  const point = await namedPoint(repository, name);
  const shown = pointDto(point);
  if (verification) shown.verification = await repository.verification(point, signal);
  if (!partitions && !map) return shown;
  const { pointMaps, pointPartitions } = await import('@prima/engine');
  const tables = partitions ? await pointPartitions(repository, point, signal) : [];
  const maps = map ? await pointMaps(repository, point, signal) : [];
  const disks = shown.disks.map((disk, i) => {
    const table = tables[i];
    const of = maps[i];
    return { ...disk, ...(table && { partitionTable: partitionTableDto(table) }), ...(of && { map: of }) };
  });
  return { ...shown, disks };
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
