/** Figures for Prometheus, in its text format 0.0.4. Told to loopback, and to whoever has a token of a provider's viewer. */
import { type Kysely, sql } from 'kysely';
import type { Service } from '../service/service.ts';
import { protectionAt } from '../service/standing.ts';
import type { Tables } from '../state/tables.ts';

export async function metricsOf({ state: { db }, clock, workers }: Service): Promise<string> {
  const { rss, heapUsed } = process.memoryUsage();
  return [
    ...(await jobMetrics(db)),
    ...(await machineMetrics(db, clock.now())),
    ...(await repositoryMetrics(db)),
    ...(await workerMetrics(db, workers)),
    ...family('process_resident_memory_bytes', 'Memory', [[{}, rss]]),
    ...family('nodejs_heap_used_bytes', 'Heap', [[{}, heapUsed]]),
    '',
  ].join('\n');
}

async function workerMetrics(db: Kysely<Tables>, workers: Service['workers']): Promise<string[]> {
  const organisations = await db.selectFrom('organisation').select('id').execute();
  const lists = organisations.map(async ({ id: organisation }) =>
    (await workers.list(organisation)).map(
      ({ name, state }) => [{ organisation, name }, state === 'here' ? 1 : 0] as const,
    ),
  );
  const samples = (await Promise.all(lists)).flat();
  return family('prima_workers', '1 where a worker was heard of within 90 seconds', samples);
}

async function jobMetrics(db: Kysely<Tables>): Promise<string[]> {
  const jobs = await db
    .selectFrom('job')
    .groupBy(['state', 'operation'])
    .select(['state', 'operation', (is) => is.fn.countAll().as('count')])
    .execute();
  const samples = jobs.map(({ count, ...labels }) => [labels, count] as const);
  return family('prima_jobs', 'Jobs by state and operation', samples);
}

async function machineMetrics(db: Kysely<Tables>, now: number): Promise<string[]> {
  const there = db.selectFrom('machine').where('gone', '=', 0);
  const protection = protectionAt(new Date(now).toISOString()).as('protection');
  const counts = await there
    .groupBy(sql`1, 2`)
    .select(['organisation_id as organisation', protection, (is) => is.fn.countAll().as('count')])
    .execute();
  const points = await there
    .select(['organisation_id as organisation', 'host', 'name as machine', 'last_point as last'])
    .execute();
  return [
    ...family(
      'prima_machines',
      'Machines by organisation and protection',
      counts.map(({ count, ...labels }) => [labels, count]),
    ),
    ...family(
      'prima_last_point_age_seconds',
      'Age of the last good point of each machine that has one',
      points.flatMap(({ last, ...labels }) =>
        last === null ? [] : [[labels, Math.max(0, Math.round((now - Date.parse(last)) / 1000))] as const],
      ),
    ),
  ];
}

async function repositoryMetrics(db: Kysely<Tables>): Promise<string[]> {
  const rows = await db
    .selectFrom('repository')
    .select(['organisation_id as organisation', 'name', 'stored', 'free', 'error'])
    .execute();
  const samples = (value: (row: (typeof rows)[number]) => number | null) =>
    rows.flatMap((row) => {
      const { organisation, name } = row;
      const found = value(row);
      return found === null ? [] : [[{ organisation, name }, found] as const];
    });
  return [
    ...family(
      'prima_repository_stored_bytes',
      'What a repository takes',
      samples(({ stored }) => stored ?? 0),
    ),
    ...family(
      'prima_repository_free_bytes',
      'Room that is left where a repository is, where that is known',
      samples(({ free }) => free),
    ),
    ...family(
      'prima_repository_up',
      '1 where it could be read the last time',
      samples(({ error }) => (error === null ? 1 : 0)),
    ),
  ];
}

type Sample = readonly [labels: Record<string, string>, value: number | string | bigint];

/** All of them go up and down. */
function family(name: string, help: string, samples: readonly Sample[]): string[] {
  const lines = samples.map(([labels, value]) => {
    const told = Object.entries(labels).map(([key, text]) => `${key}=${JSON.stringify(text)}`);
    return `${name}${told.length > 0 ? `{${told.join(',')}}` : ''} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} gauge`, ...lines];
}
