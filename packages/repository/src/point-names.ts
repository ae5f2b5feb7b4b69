/**
 * Names of restore points as people write them: an id or its beginning, `latest`, `MACHINE@latest`,
 * `MACHINE@TIME`. Pure.
 */
import { UserError } from '@prima/base';
import type { Point } from './point.ts';

/** What a name is resolved against. */
export type NamedPoint = Pick<Point, 'id' | 'machine' | 'time'>;

/** The shortest beginning of an id that is taken for one. */
const shortestId = 4;

/**
 * The point that `text` names. `MACHINE@TIME` is the newest at or before TIME: ISO 8601, or a date or
 * time of the system's time zone without its end (`2026-11-22` is that whole day, `2026-11-22 14:30`
 * that whole minute). Raises `not-found` or `ambiguous` with what there is, `usage` for a malformed time.
 */
export function resolvePoint<T extends NamedPoint>(points: readonly T[], text: string): T {
  const at = text.lastIndexOf('@');
  if (at >= 0) return pointAt(points, text.slice(0, at), text.slice(at + 1));
  if (text === 'latest') return newest(points) ?? notFound('the repository has no restore points yet');
  const fitting = points.filter((point) => point.id.startsWith(text.toLowerCase()));
  const exact = fitting.find((point) => point.id === text.toLowerCase());
  if (exact) return exact;
  if (text.length < shortestId) {
    throw new UserError('usage', `"${text}" is too short for a restore point; give ${shortestId} characters`);
  }
  const [only, second] = fitting;
  if (only === undefined) return notFound(`no restore point "${text}"${adviceFor(points, text)}`);
  if (second !== undefined) {
    throw new UserError('ambiguous', `"${text}" begins several restore points: ${candidates(fitting)}`, {
      details: { candidates: fitting.map((point) => point.id) },
    });
  }
  return only;
}

/**
 * The points of the machine that `text` names (its id, or a name or `HOST/NAME` that it has or had), in the
 * order given. Raises `not-found`, or `ambiguous` when several machines have this name.
 */
export function pointsOfMachine<T extends NamedPoint>(points: readonly T[], text: string): T[] {
  const byId = points.filter((point) => point.machine.id === text);
  if (byId.length > 0) return byId;
  const named = points.filter(
    ({ machine }) => machine.name === text || (machine.host && `${machine.host}/${machine.name}` === text),
  );
  const ids = new Map(named.map(({ machine }) => [machine.id, machine]));
  if (ids.size > 1) {
    const list = [...ids.values()].map(({ id, host }) => `${id}${host ? ` (on ${host})` : ''}`);
    throw new UserError(
      'ambiguous',
      `several machines are called "${text}": ${list.join(', ')}; give the id`,
      {
        details: { candidates: [...ids.keys()] },
      },
    );
  }
  // what it was called at other times is the same machine
  if (named.length > 0) return points.filter((point) => ids.has(point.machine.id));
  const known = [...new Set(points.map((point) => point.machine.name))].sort();
  const list = known.length === 0 ? 'there are none yet' : `there are: ${some(known)}`;
  return notFound(`no restore points of a machine "${text}"; ${list}`);
}

/** The newest by its point in time, or undefined. Of several of one instant the last in the list. */
export function newest<T extends NamedPoint>(points: readonly T[]): T | undefined {
  return points.reduce<T | undefined>(
    (best, point) => (best === undefined || Date.parse(point.time) >= Date.parse(best.time) ? point : best),
    undefined,
  );
}

function pointAt<T extends NamedPoint>(points: readonly T[], machine: string, time: string): T {
  const own = machine === '' ? points : pointsOfMachine(points, machine);
  const limit = time === 'latest' ? Number.POSITIVE_INFINITY : endOfTime(time);
  const found = newest(own.filter((point) => Date.parse(point.time) <= limit));
  if (found) return found;
  const oldest = own.toSorted((a, b) => Date.parse(a.time) - Date.parse(b.time))[0];
  const first = oldest ? `; the oldest is ${oldest.id.slice(0, 8)} of ${oldest.time}` : '';
  return notFound(`no restore point of ${machine || 'any machine'} at or before ${time}${first}`);
}

const local = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?$/;

/** Milliseconds since 1970 of the last instant that `text` may mean: see `resolvePoint`. Raises `usage`. */
export function endOfTime(text: string): number {
  const match = local.exec(text);
  if (match) {
    const [year = 0, month = 0, day = 0, hour, minute, second] = match
      .slice(1)
      .map((digits) => (digits === undefined ? undefined : Number(digits)));
    const end = new Date(year, month - 1, day, hour ?? 23, minute ?? 59, second ?? 59, 999);
    if (end.getMonth() === month - 1 && end.getDate() === day) return end.getTime();
  } else if (/^\d{4}-\d\d-\d\d[T ].*(?:Z|[+-]\d\d:?\d\d)$/i.test(text)) {
    const time = Date.parse(text);
    if (!Number.isNaN(time)) return time;
  }
  throw new UserError(
    'usage',
    `"${text}" is not a time; write latest, 2026-11-22, "2026-11-22 14:30" or 2026-11-22T14:30:00Z`,
  );
}

function adviceFor(points: readonly NamedPoint[], text: string): string {
  const machine = points.some((point) => point.machine.name === text);
  if (machine) return `; for the newest of this machine write ${text}@latest`;
  return points.length === 0 ? '; the repository has none yet' : `; the newest are ${candidates(points)}`;
}

function candidates(points: readonly NamedPoint[]): string {
  const newestFirst = points.toSorted((a, b) => Date.parse(b.time) - Date.parse(a.time));
  return some(newestFirst.map(({ id, machine, time }) => `${id.slice(0, 12)} (${machine.name}, ${time})`));
}

const listed = 5;

function some(items: readonly string[]): string {
  const more = items.length > listed ? `, and ${items.length - listed} more` : '';
  return `${items.slice(0, listed).join(', ')}${more}`;
}

function notFound(message: string): never {
  throw new UserError('not-found', message);
}
