/**
 * Which restore points to keep: the newest of each hour, day, ISO week, month and year, for so many of
 * them, per machine; as restic and Proxmox Backup Server understand these words. Pure.
 *
 * - Periods without a point are not counted: `daily: 7` keeps seven days that have points.
 * - Rules add up: a point stays when any rule keeps it, and every rule that does is a reason.
 * - A machine's newest point always stays, and so does its newest point without warnings.
 * - Locked points stay until their lock ends, and count like any other.
 * - Points with warnings otherwise count like any other.
 */
import { UserError } from '@prima/base';
import type { Point } from '@prima/repository';

/** How many to keep of each; a missing or zero rule keeps none. */
export interface KeepRules {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
}

/** What the rules look at. */
export type RetentionPoint = Pick<
  Point,
  'id' | 'machine' | 'time' | 'tags' | 'warnings' | 'skipped' | 'lockedUntil'
>;

export interface RetentionOptions {
  rules: KeepRules;
  /** Points with one of these tags stay. */
  keepTags?: readonly string[];
  /** An IANA time zone in which days and weeks begin. Default: the system's. */
  timeZone?: string;
  /** Milliseconds since 1970: which locks have ended. Default: now. */
  now?: number;
}

export interface RetentionDecision<T extends RetentionPoint> {
  point: T;
  keep: boolean;
  /** Why it stays; empty when it goes. */
  reasons: string[];
}

const ruleNames = ['last', 'hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const;

/**
 * Decides for every point; the order of the answer is that of `points`. Raises `usage` when no rule and
 * no tag says what to keep, or a rule is not a whole number.
 */
export function decideRetention<T extends RetentionPoint>(
  points: readonly T[],
  options: RetentionOptions,
): RetentionDecision<T>[] {
  const { rules, keepTags = [], timeZone, now = Date.now() } = options;
  assertRules(rules, keepTags);
  const periods = periodsIn(timeZone);
  const reasons = new Map<T, string[]>(points.map((point) => [point, []]));
  const machines = Map.groupBy(points, (point) => point.machine.id);
  for (const ofMachine of machines.values()) {
    const newestFirst = ofMachine.toSorted(compareNewestFirst);
    const add = (point: T, why: string) => reasons.get(point)?.push(why);
    applyRules(newestFirst, { rules, periods, add });
    for (const point of newestFirst) {
      for (const tag of point.tags) if (keepTags.includes(tag)) add(point, `tag ${tag}`);
    }
    for (const point of newestFirst) {
      if (isLocked(point, now)) add(point, `locked until ${point.lockedUntil}`);
    }
    const [newest] = newestFirst;
    if (newest) add(newest, 'newest');
    const sound = newestFirst.find((point) => point.warnings.length === 0 && point.skipped.length === 0);
    if (sound && sound !== newest) add(sound, 'newest without warnings');
  }
  return points.map((point) => {
    const why = reasons.get(point) ?? [];
    return { point, keep: why.length > 0, reasons: why };
  });
}

/** True while nobody can forget the point. */
export function isLocked({ lockedUntil }: Pick<Point, 'lockedUntil'>, now: number): boolean {
  return lockedUntil !== undefined && Date.parse(lockedUntil) > now;
}

function assertRules(rules: KeepRules, keepTags: readonly string[]): void {
  for (const name of ruleNames) {
    const count = rules[name];
    if (count !== undefined && (!Number.isSafeInteger(count) || count < 0)) {
      throw new UserError('usage', `keep ${name}: ${count} is not a whole number of points to keep`);
    }
  }
  if (keepTags.length === 0 && ruleNames.every((name) => (rules[name] ?? 0) === 0)) {
    throw new UserError(
      'usage',
      'nothing says which points to keep; give at least one rule (last, hourly, daily, weekly, monthly, yearly), a tag to keep, or name the points to forget',
    );
  }
}

function applyRules<T extends RetentionPoint>(
  newestFirst: readonly T[],
  context: { rules: KeepRules; periods: Periods; add: (point: T, why: string) => void },
): void {
  const { rules, periods, add } = context;
  for (const name of ruleNames) {
    const limit = rules[name] ?? 0;
    const seen = new Set<string>();
    for (const [index, point] of newestFirst.entries()) {
      if (seen.size >= limit) break;
      const key = name === 'last' ? `${index + 1}` : periods(Date.parse(point.time))[name];
      if (seen.has(key)) continue;
      seen.add(key);
      add(point, `${name} ${key}`);
    }
  }
}

/** Newest first; points of one instant in a fixed order. */
function compareNewestFirst(a: RetentionPoint, b: RetentionPoint): number {
  return Date.parse(b.time) - Date.parse(a.time) || (a.id < b.id ? 1 : -1);
}

type Period = Exclude<(typeof ruleNames)[number], 'last'>;
type Periods = (time: number) => Record<Period, string>;

/** The names of the periods that an instant lies in, by the clock on the wall of the time zone. */
function periodsIn(timeZone?: string): Periods {
  const format = new Intl.DateTimeFormat('en-US', {
    calendar: 'gregory',
    hourCycle: 'h23',
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    timeZoneName: 'longOffset',
    timeZone,
  });
  return (time) => {
    const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? '';
    const year = part('year').padStart(4, '0');
    const month = `${year}-${part('month')}`;
    const day = `${month}-${part('day')}`;
    return {
      // the offset tells the two hours apart that one name has when summer time ends
      hourly: `${day} ${part('hour')}h ${part('timeZoneName')}`,
      daily: day,
      weekly: isoWeek(Number(year), Number(part('month')), Number(part('day'))),
      monthly: month,
      yearly: year,
    };
  };
}

const dayMs = 86_400_000;

/** ISO 8601 week: it belongs to the year that its Thursday lies in. */
function isoWeek(year: number, month: number, day: number): string {
  const date = Date.UTC(year, month - 1, day);
  const weekday = (new Date(date).getUTCDay() + 6) % 7;
  const thursday = date + (3 - weekday) * dayMs;
  const weekYear = new Date(thursday).getUTCFullYear();
  const week = Math.floor((thursday - Date.UTC(weekYear, 0, 1)) / (7 * dayMs)) + 1;
  return `${weekYear}-W${String(week).padStart(2, '0')}`;
}
