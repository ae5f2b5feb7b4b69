/** What follows from a job that has ended: what is known is read anew, and what a policy wants next is queued. */
import type { Problem } from '@prima/api/http';
import { type Clock, type Logger, toPrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import { type JobRow, type JobStore, workerOf } from '../jobs/job-store.ts';
import type { Happening } from '../notifications/happenings.ts';
import type { Tables } from '../state/tables.ts';
import type { Catalogue } from './catalogue.ts';
import type { Inventory } from './inventory.ts';
import { reckonStanding, settingsOf } from './standing.ts';
import type { Tenants } from './tenants.ts';
import { noteOutcome } from './work.ts';

export interface AftermathParts {
  db: Kysely<Tables>;
  clock: Clock;
  logger: Logger;
  store: JobStore;
  tenants: Tenants;
  catalogue: Catalogue;
  inventory: Inventory;
  /** Tells people. */
  raise: (happening: Happening) => Promise<void>;
}

/** Jobs that change what a repository holds, and those that change what a host has. */
const changePoints = new Set([
  'backup',
  'forget',
  'copy',
  'collect',
  'repair',
  'lock',
  'hostBackup',
  'check',
]);
const changeMachines = new Set([
  'restoreToHost',
  'recover',
  'recoverResume',
  'recoverCancel',
  'machineImport',
  'machinePower',
]);

export const changesMachines = (operation: string): boolean => changeMachines.has(operation);

export class Aftermath {
  readonly #parts: AftermathParts;

  constructor(parts: AftermathParts) {
    this.#parts = parts;
  }

  async of(job: JobRow): Promise<void> {
    const { db, store, logger } = this.#parts;
    const steps = [
      () => noteOutcome(db, store, job),
      () => this.#tell(job),
      () => this.#readAnew(job),
      () => this.#next(job),
      () => reckonStanding(db, job.organisation_id),
    ];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        logger.warn(`after "${job.summary}": ${toPrimaError(error, 'what follows from a job').message}`);
      }
    }
  }

  async #tell(job: JobRow): Promise<void> {
    if (job.state !== 'failed') return;
    const { code = '', message = '' } = JSON.parse(job.error ?? '{}') as Partial<Problem>;
    const isDamage = job.operation === 'check' && (code === 'verify-failed' || code === 'integrity');
    const machines = JSON.parse(job.machines) as string[];
    await this.#parts.raise({
      organisation: job.organisation_id,
      event: isDamage ? 'damage' : 'job-failed',
      subject: job.summary,
      reason: withoutNames(message, machines),
    });
  }

  async #readAnew(job: JobRow): Promise<void> {
    const { tenants, catalogue, inventory, db, clock } = this.#parts;
    const { operation, organisation_id: organisation } = job;
    if (changePoints.has(operation)) {
      const repository = await tenants.repository(organisation, job.repository ?? undefined);
      if (operation === 'check' && job.state === 'succeeded')
        await db
          .updateTable('repository')
          .set({ checked: new Date(clock.now()).toISOString() })
          .where('id', '=', repository.id)
          .execute();
      await catalogue.refresh(repository);
    }
    // a worker tells of its hosts itself
    if (job.host !== null && changesMachines(operation) && workerOf(job.owner) === undefined)
      await inventory.refresh(organisation, job.host);
  }

  /** After a policy's backup: what it no longer keeps is forgotten, what is new is copied, and what nobody needs collected once a day. */
  async #next(job: JobRow): Promise<void> {
    const { db, store, clock, tenants } = this.#parts;
    if (job.policy_id === null || job.state !== 'succeeded') return;
    const row = await db.selectFrom('policy').selectAll().where('id', '=', job.policy_id).executeTakeFirst();
    if (!row) return; // removed meanwhile
    const settings = settingsOf(row);
    const [machine] = JSON.parse(job.machines) as string[];
    const common = {
      organisation: job.organisation_id,
      repository: settings.repository,
      requestedBy: `policy ${row.name}`,
      policy: row.id,
      attempts: settings.attempts,
    };
    if (job.operation === 'backup' && machine !== undefined) {
      const id = await this.#machineId(job.organisation_id, machine);
      const { retention: keep, copyTo } = settings;
      if (keep && id !== undefined)
        await store.create({
          ...common,
          operation: 'forget',
          summary: `forget old points of ${machine}`,
          request: { machine: id, keep },
          idempotency: `forget ${job.id}`,
        });
      if (copyTo !== undefined && id !== undefined) {
        const target = await tenants.repository(job.organisation_id, copyTo);
        const text = tenants.secretOf(target);
        await store.create({
          ...common,
          operation: 'copy',
          summary: `copy ${machine} to ${copyTo}`,
          request: { machine: id, to: { url: target.url, secret: { kind: 'passphrase', text } } },
          shown: { machine: id, to: copyTo },
          idempotency: `copy ${job.id}`,
        });
      }
    }
    if (job.operation === 'forget') {
      const day = new Date(clock.now()).toISOString().slice(0, 10);
      await store.create({
        ...common,
        operation: 'collect',
        summary: `free what nothing needs in ${settings.repository}`,
        request: {},
        idempotency: `collect ${settings.repository} ${day}`,
      });
    }
  }

  async #machineId(organisation: string, machine: string): Promise<string | undefined> {
    const [host = '', name = ''] = machine.split('/', 2);
    const row = await this.#parts.db
      .selectFrom('machine')
      .select('machine_id')
      .where('organisation_id', '=', organisation)
      .where('host', '=', host)
      .where('name', '=', name)
      .executeTakeFirst();
    return row?.machine_id;
  }
}

/** So that the same reason reads the same for each machine. */
function withoutNames(message: string, machines: readonly string[]): string {
  const names = machines.flatMap((machine) => [machine, machine.split('/', 2)[1] ?? machine]);
  return names.reduce((left, name) => left.replaceAll(name, 'it'), message);
}
