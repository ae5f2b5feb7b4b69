/** Jobs in the state: made, found, claimed by one process at a time, followed. */
import { randomUUID } from 'node:crypto';
import type { Job, JobEventEntry, JobState } from '@prima/api/http';
import { type Clock, PrimaError, type ProcessIdentity } from '@prima/base';
import { type Kysely, type Selectable, sql, type Transaction } from 'kysely';
import type { Sealer } from '../accounts/sealing.ts';
import type { State } from '../state/database.ts';
import type { Tables } from '../state/tables.ts';
import type { Claim, JobQueue, Limits, Outcome, StoredEvent } from './job-queue.ts';

export type JobRow = Selectable<Tables['job']>;

/** Who runs a job: a server's process, or that of a worker. */
type Owner = ProcessIdentity & { worker?: string };

export interface WorkerKey {
  organisation: string;
  id: string;
}

export interface NewJob {
  organisation: string;
  operation: string;
  summary: string;
  request: unknown;
  /** The same without secrets, for people; default the request. */
  shown?: unknown;
  repository?: string | undefined;
  /** `HOST/MACHINE`: jobs of one machine run one after the other. */
  machines?: readonly string[];
  /** So many jobs run at once on this host, as this job sees it. */
  host?: { name: string; atOnce: number } | undefined;
  requestedBy: string;
  policy?: string | undefined;
  attempts?: number;
  notBefore?: string | undefined;
  /** A second request with the same key is the same job. */
  idempotency?: string | undefined;
}

/** Far more than anybody reads; the last ones say how it ended. */
const eventsAtMost = 20_000;
const eventsKeptDays = 60;
const jobsKeptDays = 400;
const dayMs = 86_400_000;
const candidates = 500;
/** Any number: the same in all processes, so that they claim one after the other. */
const claimLock = 7_461_001;

export class JobStore implements JobQueue<JobRow> {
  readonly #state: State;
  readonly #clock: Clock;
  readonly #sealer: Sealer;

  constructor(state: State, clock: Clock, sealer: Sealer) {
    this.#state = state;
    this.#clock = clock;
    this.#sealer = sealer;
  }

  requestOf({ id, request }: JobRow): unknown {
    return JSON.parse(this.#sealer.open(request, aboutRequest(id)));
  }

  get #db(): Kysely<Tables> {
    return this.#state.db;
  }

  now(later = 0): string {
    return new Date(this.#clock.now() + later).toISOString();
  }

  async create(job: NewJob): Promise<JobRow> {
    const { organisation, machines = [], idempotency = null } = job;
    if (idempotency !== null) {
      const before = await this.#byKey(organisation, idempotency);
      if (before) return this.#sameRequest(before, job);
    }
    const id = randomUUID();
    const row: JobRow = {
      id,
      organisation_id: organisation,
      operation: job.operation,
      summary: job.summary,
      request: this.#sealer.seal(JSON.stringify(job.request), aboutRequest(id)),
      shown: JSON.stringify(job.shown ?? job.request),
      repository: job.repository ?? null,
      machines: JSON.stringify(machines),
      host: job.host?.name ?? null,
      host_limit: job.host?.atOnce ?? null,
      state: 'queued',
      requested_by: job.requestedBy,
      policy_id: job.policy ?? null,
      attempt: 0,
      attempts: job.attempts ?? 1,
      created: this.now(),
      not_before: job.notBefore ?? null,
      started: null,
      ended: null,
      cancelling: 0,
      progress: null,
      result: null,
      error: null,
      idempotency,
      owner: null,
      beat: null,
    };
    try {
      await this.#db.transaction().execute(async (db) => {
        await db.insertInto('job').values(row).execute();
        for (const machine of new Set(machines))
          await db
            .insertInto('job_machine')
            .values({ organisation_id: organisation, machine, job_id: row.id })
            .execute();
      });
    } catch (error) {
      const before = idempotency === null ? undefined : await this.#byKey(organisation, idempotency);
      if (!before) throw error;
      return this.#sameRequest(before, job); // made at the same moment
    }
    return row;
  }

  #sameRequest(before: JobRow, job: NewJob): JobRow {
    const isSame = JSON.stringify(this.requestOf(before)) === JSON.stringify(job.request);
    if (before.operation === job.operation && isSame) return before;
    throw new PrimaError(
      'exists',
      'another request was made with this Idempotency-Key before; choose a new one',
    );
  }

  async #byKey(organisation: string, idempotency: string): Promise<JobRow | undefined> {
    return this.#db
      .selectFrom('job')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .where('idempotency', '=', idempotency)
      .executeTakeFirst();
  }

  /** Raises `not-found`, also for another organisation's. */
  async get(organisation: string, id: string): Promise<JobRow> {
    const row = await this.#find(id);
    if (row?.organisation_id === organisation) return row;
    throw new PrimaError('not-found', 'there is no such job');
  }

  async #find(id: string): Promise<JobRow | undefined> {
    return this.#db.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** Newest first. `before`: the creation and id of the last one of the page before. */
  async list(
    organisation: string,
    where: {
      limit: number;
      before?: readonly [created: string, id: string] | undefined;
      state?: JobState | undefined;
      machine?: string | undefined;
      policy?: string | undefined;
      operation?: string | undefined;
    },
  ): Promise<JobRow[]> {
    const { before, limit, state, machine, policy, operation } = where;
    let query = this.#db
      .selectFrom('job')
      .selectAll('job')
      .where('job.organisation_id', '=', organisation)
      .orderBy('created', 'desc')
      .orderBy('id', 'desc')
      .limit(limit);
    if (before) {
      const [created, id] = before;
      query = query.where((is) =>
        is.or([is('created', '<', created), is.and([is('created', '=', created), is('id', '<', id)])]),
      );
    }
    if (state) query = query.where('state', '=', state);
    if (policy !== undefined) query = query.where('policy_id', '=', policy);
    if (operation !== undefined) query = query.where('operation', '=', operation);
    if (machine !== undefined)
      query = query
        .innerJoin('job_machine', 'job_machine.job_id', 'job.id')
        .where('job_machine.machine', '=', machine)
        .where('job_machine.organisation_id', '=', organisation);
    return query.execute();
  }

  /** The oldest that may run now and is at no worker's host. */
  async claim(owner: ProcessIdentity, limits: Limits, mine: number): Promise<JobRow | undefined> {
    return mine < limits.atOnce ? this.#claim(owner) : undefined;
  }

  /** The oldest of the worker's hosts that may run now. */
  async claimFor(worker: WorkerKey, owner: ProcessIdentity): Promise<JobRow | undefined> {
    return this.#claim({ ...owner, worker: worker.id }, worker.organisation);
  }

  async #claim(owner: Owner, organisation?: string): Promise<JobRow | undefined> {
    return this.#db.transaction().execute(async (db) => {
      if (this.#state.kind === 'postgres') await sql`select pg_advisory_xact_lock(${claimLock})`.execute(db);
      const running = await db.selectFrom('job').selectAll().where('state', '=', 'running').execute();
      const { worker } = owner;
      const queued = db
        .selectFrom('job')
        .selectAll('job')
        .leftJoin('worker_host', (on) =>
          on
            .onRef('worker_host.organisation_id', '=', 'job.organisation_id')
            .onRef('worker_host.name', '=', 'job.host'),
        )
        .where('state', '=', 'queued')
        .where((is) => is.or([is('not_before', 'is', null), is('not_before', '<=', this.now())]))
        .where((is) =>
          worker === undefined
            ? is('worker_id', 'is', null)
            : is.and([is('worker_id', '=', worker), is('job.organisation_id', '=', organisation ?? '')]),
        )
        .orderBy('created')
        .limit(candidates);
      const next = (await queued.execute()).find((job) => mayRun(job, running));
      return next && (await this.#take(db, next, owner));
    });
  }

  async #take(db: Transaction<Tables>, job: JobRow, owner: Owner): Promise<JobRow | undefined> {
    const now = this.now();
    const change = {
      state: 'running' as const,
      attempt: job.attempt + 1,
      started: now,
      beat: now,
      owner: JSON.stringify(owner),
      error: null,
    };
    const { numUpdatedRows } = await db
      .updateTable('job')
      .set(change)
      .where('id', '=', job.id)
      .where('state', '=', 'queued')
      .executeTakeFirst();
    return numUpdatedRows > 0n ? { ...job, ...change } : undefined;
  }

  async beat({ id, attempt }: Claim, progress: Job['progress'] | undefined): Promise<boolean> {
    const { numUpdatedRows } = await this.#db
      .updateTable('job')
      .set({ beat: this.now(), ...(progress ? { progress: JSON.stringify(progress) } : {}) })
      .where('id', '=', id)
      .where('attempt', '=', attempt)
      .where('state', '=', 'running')
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw lost();
    return (await this.#find(id))?.cancelling === 1;
  }

  async settle({ id, attempt }: Claim, outcome: Outcome): Promise<void> {
    const { state, result, error, notBefore } = outcome;
    const { numUpdatedRows } = await this.#db
      .updateTable('job')
      .set({
        state,
        owner: null,
        beat: null,
        error: error ? JSON.stringify(error) : null,
        ...(state === 'queued' ? { not_before: notBefore ?? null } : { ended: this.now() }),
        ...(result === undefined ? {} : { result: JSON.stringify(result) }),
      })
      .where('id', '=', id)
      .where('attempt', '=', attempt)
      .where('state', '=', 'running')
      .executeTakeFirst();
    if (numUpdatedRows > 0n) return;
    const now = await this.#find(id);
    if (now?.attempt !== attempt || now.state !== state) throw lost();
  }

  /** The job that a worker runs under this claim. Raises `state` where it is no longer its. */
  async ofWorker(worker: WorkerKey, { id, attempt }: Claim): Promise<JobRow> {
    const row = await this.get(worker.organisation, id);
    const isHeld = row.state === 'running' && row.attempt === attempt && workerOf(row.owner) === worker.id;
    if (!isHeld) throw lost();
    return row;
  }

  /** Answers the job; one that had not begun has ended then. */
  async cancel(organisation: string, id: string): Promise<JobRow> {
    await this.get(organisation, id);
    const { numUpdatedRows } = await this.#db
      .updateTable('job')
      .set({ state: 'cancelled', ended: this.now() })
      .where('id', '=', id)
      .where('state', '=', 'queued')
      .executeTakeFirst();
    if (numUpdatedRows === 0n)
      await this.#db
        .updateTable('job')
        .set({ cancelling: 1 })
        .where('id', '=', id)
        .where('state', '=', 'running')
        .execute();
    return this.get(organisation, id);
  }

  async running(): Promise<JobRow[]> {
    return this.#db.selectFrom('job').selectAll().where('state', '=', 'running').execute();
  }

  async append({ id }: Claim, number: number, event: StoredEvent): Promise<JobEventEntry | undefined> {
    if (number > eventsAtMost && event.type !== 'state') return undefined;
    const time = this.now();
    await this.#db
      .insertInto('job_event')
      .values({ job_id: id, id: number, time, event: JSON.stringify(event) })
      .onConflict((on) => on.doNothing()) // a worker that heard no answer sends it again
      .execute();
    return { id: number, time, event };
  }

  async removeEvent({ id }: Claim, number: number): Promise<void> {
    await this.#db.deleteFrom('job_event').where('job_id', '=', id).where('id', '=', number).execute();
  }

  /** What jobs told goes after a while, and after a longer one the jobs. */
  async prune(): Promise<void> {
    const old = (days: number) => this.now(-days * dayMs);
    const told = this.#db.selectFrom('job').select('id').where('ended', '<', old(eventsKeptDays));
    await this.#db.deleteFrom('job_event').where('job_id', 'in', told).execute();
    await this.#db.deleteFrom('job').where('ended', '<', old(jobsKeptDays)).execute();
  }

  async lastEvent({ id }: Pick<Claim, 'id'>): Promise<number> {
    const { last } = await this.#db
      .selectFrom('job_event')
      .where('job_id', '=', id)
      .select((is) => is.fn.max('id').as('last'))
      .executeTakeFirstOrThrow();
    return last ?? 0;
  }

  async events(id: string, after: number, limit: number): Promise<JobEventEntry[]> {
    const rows = await this.#db
      .selectFrom('job_event')
      .selectAll()
      .where('job_id', '=', id)
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      id: row.id,
      time: row.time,
      event: JSON.parse(row.event) as JobEventEntry['event'],
    }));
  }
}

const lost = (): PrimaError =>
  new PrimaError('state', 'this job was given up meanwhile, and is no longer run here');

/** The worker that runs a job, of its owner. */
export function workerOf(owner: string | null): string | undefined {
  return owner === null ? undefined : (JSON.parse(owner) as Owner).worker;
}

const aboutRequest = (id: string): string => `request ${id}`;

function mayRun(job: JobRow, running: readonly JobRow[]): boolean {
  const ours = running.filter((other) => other.organisation_id === job.organisation_id);
  const machines = new Set(JSON.parse(job.machines) as string[]);
  const isBusy = ours.some((other) =>
    (JSON.parse(other.machines) as string[]).some((name) => machines.has(name)),
  );
  if (isBusy) return false;
  const onHost = job.host === null ? 0 : ours.filter((other) => other.host === job.host).length;
  return onHost < (job.host_limit ?? Infinity);
}
