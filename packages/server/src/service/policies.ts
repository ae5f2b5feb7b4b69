/** Policies: kept, and run when their time has come. */
import { randomUUID } from 'node:crypto';
import type { Policy, PolicyPreview, PolicySettings } from '@prima/api/http';
import { type Clock, type Logger, PrimaError, toPrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { JobStore } from '../jobs/job-store.ts';
import type { Tables } from '../state/tables.ts';
import { type PreviewRequest, previewOf } from './policy-preview.ts';
import { nextRuns, refusedSetting } from './schedule.ts';
import { tagsByMachine } from './machine-tags.ts';
import { type Choosable, type PolicyRow, reckonStanding, settingsOf, takes } from './standing.ts';
import type { Tenants } from './tenants.ts';
import { nextInWindow } from './window.ts';

export interface PoliciesParts {
  db: Kysely<Tables>;
  clock: Clock;
  logger: Logger;
  store: JobStore;
  tenants: Tenants;
  /** There are new jobs. */
  wake: () => void;
}

export class Policies {
  readonly #parts: PoliciesParts;

  constructor(parts: PoliciesParts) {
    this.#parts = parts;
  }

  async list(organisation: string): Promise<Policy[]> {
    const { db } = this.#parts;
    const rows = await db
      .selectFrom('policy')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute();
    const machines = await this.#machines(organisation);
    const policies: Policy[] = [];
    for (const row of rows) {
      const settings = settingsOf(row);
      const last = await this.#lastOutcome(row);
      policies.push({
        ...settings,
        id: row.id,
        ...(row.next_run === null ? {} : { nextRun: row.next_run }),
        ...(row.last_run === null ? {} : { lastRun: row.last_run }),
        ...(last === undefined ? {} : { lastOutcome: last }),
        machineCount: machines.filter((machine) => takes(settings, machine)).length,
      });
    }
    return policies;
  }

  async get(organisation: string, id: string): Promise<Policy> {
    const found = (await this.list(organisation)).find((policy) => policy.id === id);
    if (found) return found;
    throw new PrimaError('not-found', 'there is no such policy');
  }

  /** What settings would do, whether they are whole yet or not. */
  async preview(organisation: string, asked: PreviewRequest): Promise<PolicyPreview> {
    const rows = await this.#machines(organisation);
    return previewOf(asked, rows, new Date(this.#parts.clock.now()));
  }

  /**
   * Raises `usage` for a schedule or a zone that is none, `not-found` for a repository, `exists` for a name that is taken; with
   * `details.issues`, as for requests that do not fit.
   */
  async put(organisation: string, settings: PolicySettings, id?: string): Promise<Policy> {
    const { db, clock } = this.#parts;
    await this.#checkRepositories(organisation, settings);
    const now = new Date(clock.now());
    const [next = null] = nextRuns(settings, now, 1);
    const next_run = settings.enabled ? next : null;
    const taken = await db
      .selectFrom('policy')
      .select('id')
      .where('organisation_id', '=', organisation)
      .where('name', '=', settings.name)
      .where('id', '!=', id ?? '')
      .executeTakeFirst();
    if (taken) throw refusedSetting('exists', 'name', `there is a policy "${settings.name}" already`);
    const kept = { name: settings.name, settings: JSON.stringify(settings), next_run };
    if (id === undefined) {
      const row = {
        id: randomUUID(),
        organisation_id: organisation,
        created: now.toISOString(),
        last_run: null,
      };
      await db
        .insertInto('policy')
        .values({ ...row, ...kept })
        .execute();
      await reckonStanding(db, organisation);
      return this.get(organisation, row.id);
    }
    await this.get(organisation, id);
    await db.updateTable('policy').set(kept).where('id', '=', id).execute();
    await reckonStanding(db, organisation);
    return this.get(organisation, id);
  }

  async remove(organisation: string, id: string): Promise<Policy> {
    const policy = await this.get(organisation, id);
    await this.#parts.db.deleteFrom('policy').where('id', '=', id).execute();
    await reckonStanding(this.#parts.db, organisation);
    return policy;
  }

  /** Runs those whose time has come. Of several servers one runs each. */
  async runDue(): Promise<void> {
    const { db, clock, logger } = this.#parts;
    const now = new Date(clock.now());
    const due = await db
      .selectFrom('policy')
      .selectAll()
      .where('next_run', '<=', now.toISOString())
      .execute();
    for (const row of due) {
      const settings = settingsOf(row);
      const { numUpdatedRows } = await db
        .updateTable('policy')
        .set({ next_run: nextRuns(settings, now, 1)[0] ?? null })
        .where('id', '=', row.id)
        .where('next_run', '=', row.next_run)
        .executeTakeFirst();
      if (numUpdatedRows === 0n) continue; // another server did
      try {
        await this.run(row, { requestedBy: `policy ${row.name}`, run: row.next_run ?? now.toISOString() });
      } catch (error) {
        logger.error(`policy ${row.name}: ${toPrimaError(error, 'running a policy').message}`);
      }
    }
  }

  async row(organisation: string, id: string): Promise<PolicyRow> {
    await this.get(organisation, id);
    return this.#parts.db.selectFrom('policy').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  }

  /** One job a machine; none for a machine whose job of this policy has not ended. Answers their ids. */
  async run(
    row: PolicyRow,
    {
      requestedBy,
      run,
      only,
    }: {
      requestedBy: string /** Which one: of two with the same, one makes jobs. */;
      run: string;
      only?: readonly string[] | undefined;
    },
  ): Promise<string[]> {
    const { db, clock, store, logger } = this.#parts;
    const settings = settingsOf(row);
    const organisation = row.organisation_id;
    const busy = new Set(await this.#busyMachines(row));
    const now = new Date(clock.now());
    const begins = settings.window ? nextInWindow(settings.window, settings.timeZone, now) : now;
    const jobs: string[] = [];
    for (const one of await this.#machines(organisation)) {
      const { host } = one;
      const machine = `${host}/${one.name}`;
      if (!takes(settings, one) || (only && !only.includes(machine))) continue;
      if (busy.has(machine)) {
        logger.warn(
          `policy ${row.name}: the last backup of ${machine} has not ended; it is left out this time`,
        );
        continue;
      }
      const { id } = await store.create({
        organisation,
        operation: 'backup',
        summary: `back up ${machine}`,
        request: requestOf(settings, machine),
        repository: settings.repository,
        machines: [machine],
        host: { name: host, atOnce: settings.atOnce },
        requestedBy,
        policy: row.id,
        attempts: settings.attempts,
        ...(begins > now ? { notBefore: begins.toISOString() } : {}),
        idempotency: `policy ${row.id} ${run} ${machine}`,
      });
      jobs.push(id);
    }
    await db.updateTable('policy').set({ last_run: now.toISOString() }).where('id', '=', row.id).execute();
    this.#parts.wake();
    return jobs;
  }

  async #busyMachines({ id }: PolicyRow): Promise<string[]> {
    const rows = await this.#parts.db
      .selectFrom('job')
      .innerJoin('job_machine', 'job_machine.job_id', 'job.id')
      .select('job_machine.machine')
      .where('policy_id', '=', id)
      .where('operation', '=', 'backup')
      .where('state', 'in', ['queued', 'running'])
      .execute();
    return rows.map(({ machine }) => machine);
  }

  async #checkRepositories(organisation: string, { repository, copyTo }: PolicySettings): Promise<void> {
    const known = (await this.#parts.tenants.repositories(organisation)).map(({ name }) => name);
    const check = (path: string, name: string) => {
      if (!known.includes(name))
        throw refusedSetting('not-found', path, `there is no repository "${name}"; add it first`);
    };
    check('repository', repository);
    if (copyTo === undefined) return;
    check('copyTo', copyTo);
    if (copyTo === repository)
      throw refusedSetting('usage', 'copyTo', 'the second repository is another than the first');
  }

  async #machines(organisation: string): Promise<(Choosable & { policies: string })[]> {
    const { db } = this.#parts;
    const tags = await tagsByMachine(db, organisation);
    const rows = await db
      .selectFrom('machine')
      .select(['host', 'name', 'policies', 'machine_id'])
      .where('organisation_id', '=', organisation)
      .where('gone', '=', 0)
      .orderBy('host')
      .orderBy('name')
      .execute();
    return rows.map((row) => ({ ...row, tags: tags.get(row.machine_id) ?? [] }));
  }

  /** Of the jobs of its last run. */
  async #lastOutcome({ id, last_run }: PolicyRow): Promise<Policy['lastOutcome']> {
    if (last_run === null) return undefined;
    const rows = await this.#parts.db
      .selectFrom('job')
      .select('state')
      .where('policy_id', '=', id)
      .where('created', '>=', last_run)
      .execute();
    const states = new Set(rows.map(({ state }) => state));
    if (states.has('running') || states.has('queued')) return 'running';
    return states.has('failed') || states.has('cancelled') ? 'failed' : 'succeeded';
  }
}

const dayMs = 86_400_000;

function requestOf(settings: PolicySettings, machine: string): Record<string, unknown> {
  const { mode, skipFreeSpace, lockDays, limits, name } = settings;
  return {
    sources: [machine],
    mode,
    tags: [`policy:${name}`],
    ...(skipFreeSpace ? { skipFreeSpace } : {}),
    ...(limits === undefined ? {} : { limits }),
    ...(lockDays === undefined ? {} : { lockMs: lockDays * dayMs }),
  };
}
