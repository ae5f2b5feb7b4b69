/** The forget operation: points that are named, or that rules do not keep. */
import type { ForgetRequest, ForgetResult, PrimaApi } from '@prima/api';
import { PrimaError, throwIfAborted, UserError } from '@prima/base';
import { decideRetention, isLocked } from '@prima/engine';
import { type Point, pointsOfMachine, type Repository, resolvePoint } from '@prima/repository';
import type { Call, Context } from '../context.ts';
import { pointDto } from '../dto.ts';

export function forgetOperations(context: Context): Pick<PrimaApi, 'forget'> {
  return {
    forget: (request, options) =>
      context.run(options, async (call) => forget(await context.repository(), request, call)),
  };
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
