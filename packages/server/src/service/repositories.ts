/** Repositories as people see them: size, growth, how long the room will last. */
import type { Problem, RepositoryRow as RepositoryDto } from '@prima/api/http';
import type { Service } from './service.ts';
import { limitsOf, type RepositoryRow } from './tenants.ts';

const day = 86_400_000;
const growthDays = 30;
const curvePoints = 400;

/** What it takes of the service. */
export type RepositoryParts = Pick<Service, 'state' | 'clock' | 'tenants'>;

export async function describeRepositories(
  service: RepositoryParts,
  organisation: string,
): Promise<RepositoryDto[]> {
  const rows = await service.tenants.repositories(organisation);
  return Promise.all(rows.map((row) => describeRepository(service, row)));
}

export async function describeRepository(
  { state, clock }: Pick<Service, 'state' | 'clock'>,
  row: RepositoryRow,
): Promise<RepositoryDto> {
  const { db } = state;
  const counted = await db
    .selectFrom('point')
    .where('repository_id', '=', row.id)
    .select((is) => [
      is.fn.countAll().as('points'),
      is.fn.count('machine_id').distinct().as('machines'),
      is.fn.max('time').as('newest'),
      is.fn.sum('data').as('data'),
    ])
    .executeTakeFirstOrThrow();
  const sizes = await db
    .selectFrom('repository_size')
    .select(['time', 'stored'])
    .where('repository_id', '=', row.id)
    .orderBy('time')
    .execute();
  const left = row.free === null ? undefined : daysLeft(sizes, row.free, clock.now());
  return {
    id: row.id,
    name: row.name,
    url: withoutSecret(row.url),
    created: row.created,
    points: Number(counted.points),
    machines: Number(counted.machines),
    ...(counted.newest === null ? {} : { newest: counted.newest }),
    ...(row.stored === null ? {} : { stored: row.stored }),
    data: Number(counted.data ?? 0),
    ...(row.looked === null ? {} : { looked: row.looked }),
    ...(row.checked === null ? {} : { checked: row.checked }),
    ...(row.error === null ? {} : { error: JSON.parse(row.error) as Problem }),
    growth: thinned(sizes),
    limits: limitsOf(row),
    ...(row.free === null ? {} : { freeBytes: row.free }),
    ...(left === undefined ? {} : { daysLeft: left }),
  };
}

/** At the growth of the last 30 days; undefined where it does not grow, or was not looked at for a day. */
function daysLeft(
  sizes: readonly { time: string; stored: number }[],
  free: number,
  now: number,
): number | undefined {
  const first = sizes.find(({ time }) => Date.parse(time) >= now - growthDays * day);
  const last = sizes.at(-1);
  if (!first || !last) return undefined;
  const days = (Date.parse(last.time) - Date.parse(first.time)) / day;
  const grown = last.stored - first.stored;
  return days >= 1 && grown > 0 ? (free / grown) * days : undefined;
}

function thinned<T>(points: readonly T[]): T[] {
  const step = Math.ceil(points.length / curvePoints);
  return points.filter((_, index) => index % step === 0 || index === points.length - 1);
}

/** A password in it is left out. */
export function withoutSecret(url: string): string {
  return url.replace(/^(\w[\w+.-]*:\/\/[^/@:]*):[^/@]*@/, '$1@');
}
