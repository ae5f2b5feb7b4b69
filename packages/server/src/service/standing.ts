/** How each machine stands: which policies take it, how old its last point may be, when it is late. */
import type { PolicySettings, Protection } from '@prima/api/http';
import { type Expression, type Kysely, type RawBuilder, type Selectable, sql, type SqlBool } from 'kysely';
import type { Tables } from '../state/tables.ts';
import { tagsByMachine } from './machine-tags.ts';

/** For points of machines that no policy takes: somebody makes them by hand, daily as most do. */
const defaultPromiseHours = 26;
const hour = 3_600_000;

export type PolicyRow = Selectable<Tables['policy']>;

export const settingsOf = (row: Pick<PolicyRow, 'settings'>): PolicySettings =>
  JSON.parse(row.settings) as PolicySettings;

/** What policies choose by. */
export interface Choosable {
  host: string;
  name: string;
  tags: readonly string[];
}

/** Whether a policy takes the machine. */
export function takes({ machines }: Pick<PolicySettings, 'machines'>, machine: Choosable): boolean {
  const { all = false, hosts = [], names = [], except = [] } = machines;
  const fits = (word: string) => fitsWord(word, machine);
  return (all || hosts.includes(machine.host) || names.some(fits)) && !except.some(fits);
}

const tagWord = 'tag:';

/** Whether one of a policy's names or exceptions is the machine's. */
export function fitsWord(word: string, { host, name, tags }: Choosable): boolean {
  if (word.startsWith(tagWord)) return tags.includes(word.slice(tagWord.length));
  return patternOf(word).test(`${host}/${name}`);
}

/** `*` stands for any characters; without "/" it is the machine's name on any host. */
function patternOf(text: string): RegExp {
  const whole = text.includes('/') ? text : `*/${text}`;
  const escaped = whole.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`).replaceAll('*', '.*');
  return new RegExp(`^${escaped}$`);
}

/** Reckons it anew, for all machines of an organisation. */
export async function reckonStanding(db: Kysely<Tables>, organisation: string): Promise<void> {
  const policies = (
    await db
      .selectFrom('policy')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute()
  ).map(settingsOf);
  const counted = await db
    .selectFrom('point')
    .where('organisation_id', '=', organisation)
    .groupBy('machine_id')
    .select(['machine_id', (is) => is.fn.countAll().as('points'), (is) => is.fn.max('time').as('last')])
    .execute();
  const byId = new Map(
    counted.map(({ machine_id, points, last }) => [machine_id, { points: Number(points), last }]),
  );
  const machines = await db
    .selectFrom('machine')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .execute();
  const tags = await tagsByMachine(db, organisation);
  await db.transaction().execute(async (change) => {
    for (const machine of machines) {
      const { host, name, machine_id } = machine;
      const choosable = { host, name, tags: tags.get(machine_id) ?? [] };
      const taking = policies.filter((policy) => policy.enabled && takes(policy, choosable));
      const hours = Math.min(...taking.map(({ promiseHours }) => promiseHours));
      const promise = Number.isFinite(hours) ? hours : defaultPromiseHours;
      const { points = 0, last = null } = byId.get(machine.machine_id) ?? {};
      const now = {
        policies: JSON.stringify(taking.map((policy) => policy.name)),
        promise_hours: promise,
        points,
        last_point: last,
        due: last === null ? null : new Date(Date.parse(last) + promise * hour).toISOString(),
      };
      if (Object.entries(now).every(([key, value]) => machine[key as keyof typeof now] === value)) continue;
      await change
        .updateTable('machine')
        .set(now)
        .where('organisation_id', '=', organisation)
        .where('host', '=', machine.host)
        .where('name', '=', machine.name)
        .execute();
    }
  });
}

/** A machine's `Protection` at a time, as SQL over the table `machine`. */
export function protectionAt(now: string): RawBuilder<Protection> {
  return sql<Protection>`case
    when machine.last_error is not null then 'failed'
    when machine.last_point is null then 'unprotected'
    when machine.due < ${now} then 'late'
    else 'protected' end`;
}

export function isProtection(now: string, wanted: Protection): Expression<SqlBool> {
  return sql<SqlBool>`${protectionAt(now)} = ${wanted}`;
}
