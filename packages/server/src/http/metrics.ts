/** Figures for Prometheus, in its text format 0.0.4. Told to loopback, and to whoever has a token of a provider's viewer. */
import { sql } from 'kysely';
import type { Service } from '../service/service.ts';
import { protectionAt } from '../service/standing.ts';

export async function metricsOf({ state, clock }: Service): Promise<string> {
  const { db } = state;
  const now = new Date(clock.now()).toISOString();
  const jobs = await db
    .selectFrom('job')
    .groupBy(['state', 'operation'])
    .select(['state', 'operation', (is) => is.fn.countAll().as('count')])
    .execute();
  const machines = await db
    .selectFrom('machine')
    .where('gone', '=', 0)
    .groupBy(sql`1, 2`)
    .select(['organisation_id', protectionAt(now).as('protection'), (is) => is.fn.countAll().as('count')])
    .execute();
  const repositories = await db.selectFrom('repository').selectAll().execute();
  const { rss, heapUsed } = process.memoryUsage();
  return [
    ...family(
      'prima_jobs',
      'gauge',
      'Jobs by state and operation',
      jobs.map(({ count, ...labels }) => [labels, count]),
    ),
    ...family(
      'prima_machines',
      'gauge',
      'Machines by organisation and protection',
      machines.map(({ organisation_id, protection, count }) => [
        { organisation: organisation_id, protection },
        count,
      ]),
    ),
    ...family(
      'prima_repository_stored_bytes',
      'gauge',
      'What a repository takes',
      repositories.map(({ name, organisation_id, stored }) => [
        { organisation: organisation_id, name },
        stored ?? 0,
      ]),
    ),
    ...family(
      'prima_repository_up',
      'gauge',
      '1 where it could be read the last time',
      repositories.map(({ name, organisation_id, error }) => [
        { organisation: organisation_id, name },
        error === null ? 1 : 0,
      ]),
    ),
    ...family('process_resident_memory_bytes', 'gauge', 'Memory', [[{}, rss]]),
    ...family('nodejs_heap_used_bytes', 'gauge', 'Heap', [[{}, heapUsed]]),
    '',
  ].join('\n');
}

type Sample = readonly [labels: Record<string, string>, value: number | string | bigint];

function family(name: string, type: string, help: string, samples: readonly Sample[]): string[] {
  const lines = samples.map(([labels, value]) => {
    const told = Object.entries(labels).map(([key, text]) => `${key}=${JSON.stringify(text)}`);
    return `${name}${told.length > 0 ? `{${told.join(',')}}` : ''} ${value}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}
