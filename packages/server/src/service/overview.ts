/** How things stand, for one page. */
import type { Overview, Problem, Protection } from '@prima/api/http';
import { formatBytes } from '@prima/base';
import { sql } from 'kysely';
import { jobDto } from '../jobs/job-dto.ts';
import { listApprovals } from './approvals.ts';
import { describeRepositories } from './repositories.ts';
import type { Service } from './service.ts';
import { isProtection, protectionAt } from './standing.ts';

const day = 86_400_000;
const attentionAtMost = 100;
const daysShown = 30;
const oldestAtMost = 8;
const daysLeftWarned = 30;

type Attention = Overview['attention'][number];

export async function overviewOf(service: Service, organisation: string): Promise<Overview> {
  const now = new Date(service.clock.now()).toISOString();
  const repositories = await describeRepositories(service, organisation);
  const sum = (of: (one: (typeof repositories)[number]) => number | undefined) =>
    repositories.reduce((total, one) => total + (of(one) ?? 0), 0);
  return {
    machines: await countMachines(service.state, organisation, now),
    attention: [
      ...repositories.flatMap(repositoryAttention),
      ...(await machineAttention(service, organisation, now)),
      ...(await hostAttention(service, organisation)),
      ...(await listApprovals(service, organisation))
        .filter(({ state }) => state === 'waiting')
        .map(
          ({ summary, requestedBy, requested }): Attention => ({
            kind: 'approval',
            subject: summary,
            level: 'warning',
            message: `${requestedBy} asks for it`,
            next: 'Another administrator approves or refuses it under Approvals',
            since: requested,
          }),
        ),
    ]
      .sort((a, b) => (a.level === b.level ? 0 : a.level === 'error' ? -1 : 1))
      .slice(0, attentionAtMost),
    ...(await jobsOf(service, organisation)),
    oldest: await oldestOf(service, organisation),
    storage: {
      stored: sum(({ stored }) => stored),
      data: sum(({ data }) => data),
      growth: addUp(repositories.map(({ growth }) => growth)),
    },
    days: await daysOf(service, organisation),
  };
}

export async function countMachines(
  state: Service['state'],
  organisation: string,
  now: string,
): Promise<Overview['machines']> {
  const rows = await state.db
    .selectFrom('machine')
    .where('organisation_id', '=', organisation)
    .where('gone', '=', 0)
    .select([protectionAt(now).as('protection'), (is) => is.fn.countAll().as('count')])
    .groupBy(sql`1`)
    .execute();
  const counts = { total: 0, protected: 0, late: 0, failed: 0, unprotected: 0 };
  for (const { protection, count } of rows) {
    counts[protection] += Number(count);
    counts.total += Number(count);
  }
  return counts;
}

/** Of those that have a point: the ones without any stand under what needs a person. */
async function oldestOf({ state }: Service, organisation: string): Promise<Overview['oldest']> {
  const rows = await state.db
    .selectFrom('machine')
    .select(['host', 'name as machine', 'last_point as lastPoint', 'promise_hours as promiseHours', 'due'])
    .where('organisation_id', '=', organisation)
    .where('gone', '=', 0)
    .where('due', 'is not', null)
    .orderBy('due')
    .limit(oldestAtMost)
    .execute();
  return rows.flatMap(({ lastPoint, due, ...row }) =>
    lastPoint === null || due === null ? [] : [{ ...row, lastPoint, due }],
  );
}

async function machineAttention({ state }: Service, organisation: string, now: string): Promise<Attention[]> {
  const attention: Attention[] = [];
  for (const protection of ['failed', 'late', 'unprotected'] as const) {
    const rows = await state.db
      .selectFrom('machine')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .where('gone', '=', 0)
      .where(isProtection(now, protection))
      .orderBy('name')
      .limit(attentionAtMost)
      .execute();
    for (const row of rows) {
      const error = row.last_error === null ? undefined : (JSON.parse(row.last_error) as Problem);
      attention.push({
        kind: 'machine',
        subject: `${row.host}/${row.name}`,
        level: protection === 'unprotected' ? 'warning' : 'error',
        ...wordsFor(protection, error, row.policies !== '[]'),
        ...(row.last_point === null ? {} : { since: row.last_point }),
      });
    }
  }
  return attention;
}

function wordsFor(
  protection: Exclude<Protection, 'protected'>,
  error: Problem | undefined,
  hasPolicy: boolean,
): { message: string; next: string } {
  if (protection === 'failed')
    return {
      message: error?.message ?? 'its last backup failed',
      next: 'See the job’s log, then back it up again',
    };
  if (protection === 'late')
    return {
      message: 'its last good point is older than promised',
      next: hasPolicy ? 'See whether the policy runs and its jobs succeed' : 'Take it into a policy',
    };
  return {
    message: hasPolicy ? 'it has no point yet' : 'no policy takes it, and it has no point',
    next: hasPolicy
      ? 'Run the policy, or wait for its time'
      : 'Take it into a policy, or leave it out on purpose',
  };
}

async function hostAttention({ state }: Service, organisation: string): Promise<Attention[]> {
  const rows = await state.db
    .selectFrom('host_state')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .where('error', 'is not', null)
    .execute();
  return rows.map(({ name, seen, error }) => ({
    kind: 'host',
    subject: name,
    level: 'error',
    message: (JSON.parse(error ?? '{}') as Problem).message,
    next: 'Test the host under Hosts; its machines cannot be backed up meanwhile',
    ...(seen === null ? {} : { since: seen }),
  }));
}

function repositoryAttention({
  name,
  error,
  looked,
  daysLeft,
  freeBytes,
}: Awaited<ReturnType<typeof describeRepositories>>[number]): Attention[] {
  const attention: Attention[] = [];
  if (error)
    attention.push({
      kind: 'repository',
      subject: name,
      level: 'error',
      message: error.message,
      next: 'Look at its storage, then refresh it under Repositories',
      ...(looked === undefined ? {} : { since: looked }),
    });
  if (daysLeft !== undefined && daysLeft < daysLeftWarned)
    attention.push({
      kind: 'repository',
      subject: name,
      level: daysLeft < 7 ? 'error' : 'warning',
      message: `${formatBytes(freeBytes ?? 0)} are left: about ${Math.floor(daysLeft)} days at its growth`,
      next: 'Make room: a larger disk, or a shorter retention',
    });
  return attention;
}

async function jobsOf(service: Service, organisation: string): Promise<Pick<Overview, 'jobs' | 'running'>> {
  const { state, jobs, clock } = service;
  const running = await jobs.list(organisation, { state: 'running', limit: 20 });
  const today = new Date(clock.now() - day).toISOString();
  const rows = await state.db
    .selectFrom('job')
    .where('organisation_id', '=', organisation)
    .where((is) => is.or([is('ended', '>=', today), is('state', 'in', ['queued', 'running'])]))
    .select(['state', (is) => is.fn.countAll().as('count')])
    .groupBy('state')
    .execute();
  const count = (wanted: string) => Number(rows.find(({ state: found }) => found === wanted)?.count ?? 0);
  return {
    jobs: {
      running: count('running'),
      queued: count('queued'),
      failedToday: count('failed'),
      succeededToday: count('succeeded'),
    },
    running: running.map(jobDto),
  };
}

async function daysOf({ state, clock }: Service, organisation: string): Promise<Overview['days']> {
  const first = new Date(clock.now() - (daysShown - 1) * day).toISOString().slice(0, 10);
  const rows = await state.db
    .selectFrom('job')
    .where('organisation_id', '=', organisation)
    .where('operation', '=', 'backup')
    .where('ended', '>=', first)
    .where('state', 'in', ['succeeded', 'failed'])
    .select([sql<string>`substr(ended, 1, 10)`.as('day'), 'state', (is) => is.fn.countAll().as('count')])
    .groupBy([sql`1`, 'state'])
    .execute();
  return Array.from({ length: daysShown }, (_, index) => {
    const at = new Date(clock.now() - (daysShown - 1 - index) * day).toISOString().slice(0, 10);
    const of = (wanted: string) =>
      Number(rows.find((row) => row.day === at && row.state === wanted)?.count ?? 0);
    return { day: at, succeeded: of('succeeded'), failed: of('failed') };
  });
}

/** Several curves as one: at each time what each had last. */
function addUp(curves: readonly { time: string; stored: number }[][]): { time: string; stored: number }[] {
  const times = [...new Set(curves.flat().map(({ time }) => time))].sort();
  return times.map((time) => ({
    time,
    stored: curves.reduce((sum, curve) => sum + (curve.findLast((one) => one.time <= time)?.stored ?? 0), 0),
  }));
}
