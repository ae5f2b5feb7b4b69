/** Locks on restore points: see "Locks" of the format. Until a lock ends nobody forgets its point. */
import { PrimaError, toPrimaError, UserError } from '@prima/base';
import { type Context, putSigned } from '../context.ts';
import type { Point } from '../point.ts';
import { blobType } from '../format/blob.ts';
import { logKeysOf, retainContents, type RetainOptions, retainRecords } from './retaining.ts';
import {
  type CommittedSession,
  forgottenKey,
  listSessions,
  lockKey,
  outcomeKey,
  readOutcomes,
  withLock,
} from './sessions.ts';

/** Longer ones are mistakes that nobody could take back. */
const longestLockMs = 100 * 366 * 86_400_000;

/** The end of a lock that is to be, milliseconds since 1970. Raises `usage` for one that makes no sense. */
export function checkedLockEnd(context: Context, until: number): number {
  const ahead = until - context.clock.now();
  if (Number.isFinite(until) && ahead > 0 && ahead <= longestLockMs) return Math.ceil(until);
  const found = Number.isFinite(until) ? isoOf(until) : String(until);
  throw new UserError('usage', `a lock ends in the future, within 100 years, not at ${found}`);
}

/** What the store has of a point. Raises `not-found` when it was forgotten or never was. */
export async function committedPoint(context: Context, id: string): Promise<CommittedSession> {
  const [session] = await readOutcomes(context, await listSessions(context, { namesOnly: true, id }));
  if (session?.outcome.point && !session.isForgotten) return session;
  throw new UserError('not-found', `there is no restore point ${id}, or it was forgotten`);
}

/** Raises `refused` while the point is locked. */
export async function assertUnlocked(context: Context, id: string): Promise<void> {
  const [session] = await readOutcomes(context, await listSessions(context, { namesOnly: true, id }));
  const lockedUntil = session?.lockedUntil ?? 0;
  if (lockedUntil <= context.clock.now()) return;
  throw new PrimaError(
    'refused',
    `the restore point ${id} is locked until ${isoOf(lockedUntil)}; nobody can forget it before`,
    { details: { point: id, lockedUntil: isoOf(lockedUntil) } },
  );
}

/**
 * Locks the point until `until` or, where it is locked for longer, leaves it so. May be repeated: what the store was not
 * asked to keep, because somebody died in between, it is asked to keep then.
 */
export async function extendLock(
  context: Context,
  point: Point,
  until: number,
  options: Omit<RetainOptions, 'session'> = {},
): Promise<Point> {
  const wanted = checkedLockEnd(context, until);
  const { outcome, lockedUntil: before } = await committedPoint(context, point.id);
  const end = Math.max(wanted, before);
  await retainContents(context, outcome.point ?? point, end, options);
  if (before < end) await writeLock(context, point, { before, end });
  await retainRecords(context, point.id, end, await logKeysOf(context, point.id));
  return withLock(point, end);
}

async function writeLock(
  context: Context,
  point: Point,
  { before, end }: { before: number; end: number },
): Promise<void> {
  const key = lockKey(point.id, end);
  const record = { session: point.id, until: isoOf(end), made: isoOf(context.clock.now()) };
  await putSigned(context, key, blobType.lock, record);
  // this order: a collection that removes the point takes the outcome away before the mark of forgetting
  const isMarked = (await context.store.stat(forgottenKey(point.id), { fresh: true })) !== undefined;
  const isForgotten = isMarked && (await mayHaveEnded(context, key, before));
  if (isForgotten || !(await context.store.stat(outcomeKey(point.id), { fresh: true }))) {
    await takeBack(context, key);
    throw new UserError('not-found', `the restore point ${point.id} was forgotten before it was locked`);
  }
  await retainRecords(context, point.id, end, [key]);
}

/**
 * Whether a collection may have found, before the object `key` was created, that a lock until `before` has run out. It goes by
 * the store's clock, too, and by its own, which may be ahead of ours.
 */
async function mayHaveEnded(context: Context, key: string, before: number): Promise<boolean> {
  if (before <= context.clock.now()) return true;
  const { modified = 0 } = (await context.store.stat(key, { fresh: true })) ?? {};
  return modified === 0 || before <= modified;
}

/** The lock of a point that goes; a collection removes what cannot be removed here. */
async function takeBack(context: Context, key: string): Promise<void> {
  try {
    await context.store.delete(key);
  } catch (error) {
    context.logger.warn(toPrimaError(error, `removing ${key}`).message);
  }
}

function isoOf(time: number): string {
  return new Date(time).toISOString();
}
