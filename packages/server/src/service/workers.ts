/** Workers and the hosts that they have. docs/decisions/0024-workers.md says how they work. */
import type { Worker, WorkerRegistration } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely, Transaction } from 'kysely';
import { workerOf, type WorkerKey } from '../jobs/job-store.ts';
import type { Tables } from '../state/tables.ts';
import type { Tenants } from './tenants.ts';

/** After so long without a sign of life it is shown as gone. */
const silentMs = 90_000;

interface WorkerHost {
  name: string;
  platform: 'qemu' | 'libvirt';
  location: string;
  /** The worker's name. */
  worker: string;
}

export class Workers {
  readonly #parts: { db: Kysely<Tables>; clock: Clock; tenants: Tenants };

  constructor(parts: { db: Kysely<Tables>; clock: Clock; tenants: Tenants }) {
    this.#parts = parts;
  }

  async list(organisation: string): Promise<Worker[]> {
    const { db, clock } = this.#parts;
    const workers = await db
      .selectFrom('worker')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute();
    const hosts = await db
      .selectFrom('worker_host')
      .select(['name', 'worker_id'])
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute();
    const running = await db
      .selectFrom('job')
      .select('owner')
      .where('organisation_id', '=', organisation)
      .where('state', '=', 'running')
      .execute();
    const heard = new Date(clock.now() - silentMs).toISOString();
    return workers.map(({ id, name, version, hostname, at_once, registered, seen }) => ({
      id,
      name,
      version,
      hostname,
      atOnce: at_once,
      hosts: hosts.filter((host) => host.worker_id === id).map((host) => host.name),
      state: seen < heard ? 'gone' : 'here',
      registered,
      seen,
      running: running.filter(({ owner }) => workerOf(owner) === id).length,
    }));
  }

  /** Raises `exists` where the name or a host is another's. */
  async register(worker: WorkerKey, said: WorkerRegistration): Promise<Worker> {
    const { db, tenants } = this.#parts;
    const { organisation, id } = worker;
    const servers = new Set((await (await tenants.of(organisation)).hostList()).map(({ name }) => name));
    for (const { name } of said.hosts)
      if (servers.has(name)) throw taken(name, 'the server has a host of this name itself');
    await db.transaction().execute(async (change) => {
      await this.#putWorker(change, worker, said);
      await change
        .deleteFrom('worker_host')
        .where('organisation_id', '=', organisation)
        .where('worker_id', '=', id)
        .execute();
      for (const host of said.hosts) {
        const { numInsertedOrUpdatedRows } = await change
          .insertInto('worker_host')
          .values({ organisation_id: organisation, worker_id: id, ...host })
          .onConflict((on) => on.doNothing())
          .executeTakeFirst();
        if (numInsertedOrUpdatedRows === 0n) throw taken(host.name, 'another worker has a host of this name');
      }
    });
    return this.#get(worker);
  }

  async #putWorker(
    change: Transaction<Tables>,
    { organisation, id }: WorkerKey,
    { name, version, hostname, atOnce }: WorkerRegistration,
  ): Promise<void> {
    const now = this.#now();
    const other = await change
      .selectFrom('worker')
      .select('id')
      .where('organisation_id', '=', organisation)
      .where('name', '=', name)
      .where('id', '!=', id)
      .executeTakeFirst();
    if (other)
      throw new PrimaError(
        'exists',
        `there is a worker "${name}" with another home folder already; give this one another --name, or remove that one first`,
      );
    const row = { name, version, hostname, at_once: atOnce, seen: now };
    await change
      .insertInto('worker')
      .values({ organisation_id: organisation, id, registered: now, ...row })
      .onConflict((on) => on.columns(['organisation_id', 'id']).doUpdateSet(row))
      .execute();
  }

  /** With its hosts; what runs there loses its claim with the next silence. Raises `not-found`. */
  async remove(worker: WorkerKey): Promise<Worker> {
    const found = await this.#get(worker);
    await this.#parts.db
      .deleteFrom('worker')
      .where('organisation_id', '=', worker.organisation)
      .where('id', '=', worker.id)
      .execute();
    return found;
  }

  /** A sign of life. Raises `not-found` for one that is not registered. */
  async touch({ organisation, id }: WorkerKey): Promise<void> {
    const { numUpdatedRows } = await this.#parts.db
      .updateTable('worker')
      .set({ seen: this.#now() })
      .where('organisation_id', '=', organisation)
      .where('id', '=', id)
      .executeTakeFirst();
    if (numUpdatedRows === 0n) throw unknown();
  }

  async hosts(organisation: string): Promise<WorkerHost[]> {
    return this.#parts.db
      .selectFrom('worker_host')
      .innerJoin('worker', (on) =>
        on
          .onRef('worker.organisation_id', '=', 'worker_host.organisation_id')
          .onRef('worker.id', '=', 'worker_host.worker_id'),
      )
      .select(['worker_host.name', 'platform', 'location', 'worker.name as worker'])
      .where('worker_host.organisation_id', '=', organisation)
      .orderBy('worker_host.name')
      .execute();
  }

  async hostAt(organisation: string, name: string): Promise<WorkerHost | undefined> {
    return (await this.hosts(organisation)).find((host) => host.name === name);
  }

  /** Raises `exists` where a worker has a host of this name. */
  async checkFree(organisation: string, name: string): Promise<void> {
    const found = await this.hostAt(organisation, name);
    if (found) throw taken(name, `the worker ${found.worker} has a host of this name`);
  }

  /** Raises `not-found` where the host is not this worker's. */
  async checkHas({ organisation, id }: WorkerKey, host: string): Promise<void> {
    const found = await this.#parts.db
      .selectFrom('worker_host')
      .select('name')
      .where('organisation_id', '=', organisation)
      .where('worker_id', '=', id)
      .where('name', '=', host)
      .executeTakeFirst();
    if (!found) throw new PrimaError('not-found', `this worker has registered no host "${host}"`);
  }

  async #get({ organisation, id }: WorkerKey): Promise<Worker> {
    const found = (await this.list(organisation)).find((worker) => worker.id === id);
    if (found) return found;
    throw unknown();
  }

  #now(): string {
    return new Date(this.#parts.clock.now()).toISOString();
  }
}

const unknown = (): PrimaError =>
  new PrimaError('not-found', 'there is no such worker; it registers when it starts');

const taken = (host: string, why: string): PrimaError =>
  new PrimaError(
    'exists',
    `"${host}": ${why}; names of hosts are unique in an organisation: remove one of the two, or add it under another name`,
  );
