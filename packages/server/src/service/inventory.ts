/** The machines of all hosts, as they were when each was last looked at. */
import type { MachineDto } from '@prima/api';
import type { Problem } from '@prima/api/http';
import { type Clock, toPrimaError } from '@prima/base';
import type { Insertable, Kysely } from 'kysely';
import { problemOf } from '../problem.ts';
import type { Tables } from '../state/tables.ts';
import type { Tenants } from './tenants.ts';

export interface InventoryParts {
  db: Kysely<Tables>;
  clock: Clock;
  tenants: Tenants;
}

export class Inventory {
  readonly #parts: InventoryParts;
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: InventoryParts) {
    this.#parts = parts;
  }

  /** Raises what the host raises, which is noted. Two that ask at once get one answer. */
  refresh(organisation: string, host: string): Promise<void> {
    const key = `${organisation} ${host}`;
    const running =
      this.#running.get(key) ??
      this.#refresh(organisation, host).finally(() => {
        this.#running.delete(key);
      });
    this.#running.set(key, running);
    return running;
  }

  async #refresh(organisation: string, host: string): Promise<void> {
    const { tenants } = this.#parts;
    try {
      const application = await tenants.of(organisation);
      const machines = await application.machineList({ host });
      await this.take(organisation, host, { machines });
    } catch (error) {
      const failure = toPrimaError(error, `reading the machines of ${host}`);
      await this.take(organisation, host, { error: problemOf(failure) });
      throw failure;
    }
  }

  /** What was found on a host, or why nothing could be. */
  async take(
    organisation: string,
    host: string,
    { machines, error }: { machines?: readonly MachineDto[] | undefined; error?: Problem | undefined },
  ): Promise<void> {
    const seen = new Date(this.#parts.clock.now()).toISOString();
    if (machines && !error) {
      const own = machines.filter((machine) => machine.host === host);
      await this.#replace(organisation, host, { machines: own, seen });
    }
    const failed = error === undefined ? { seen, error: null } : { error: JSON.stringify(error) };
    await this.#note(organisation, host, failed);
  }

  async #note(
    organisation: string,
    name: string,
    change: { seen?: string; error: string | null },
  ): Promise<void> {
    await this.#parts.db
      .insertInto('host_state')
      .values({ organisation_id: organisation, name, seen: null, ...change })
      .onConflict((on) => on.columns(['organisation_id', 'name']).doUpdateSet(change))
      .execute();
  }

  /** One that is gone stays, as long as it has points or a policy: somebody may look for it. */
  async #replace(
    organisation: string,
    host: string,
    { machines, seen }: { machines: readonly MachineDto[]; seen: string },
  ): Promise<void> {
    const { db } = this.#parts;
    await db.transaction().execute(async (change) => {
      for (const machine of machines) {
        const row = { organisation_id: organisation, ...rowOf(machine, seen) };
        const { organisation_id: _o, host: _h, name: _n, ...now } = row;
        await change
          .insertInto('machine')
          .values({ ...row, ...unknown })
          .onConflict((on) => on.columns(['organisation_id', 'host', 'name']).doUpdateSet(now))
          .execute();
      }
      await change
        .updateTable('machine')
        .set({ gone: 1 })
        .where('organisation_id', '=', organisation)
        .where('host', '=', host)
        .where('seen', '<', seen)
        .execute();
      await change
        .deleteFrom('machine')
        .where('organisation_id', '=', organisation)
        .where('host', '=', host)
        .where('gone', '=', 1)
        .where('points', '=', 0)
        .where('policies', '=', '[]')
        .execute();
    });
  }

  /** With the machines that are known of it. */
  async forgetHost(organisation: string, host: string): Promise<void> {
    const { db } = this.#parts;
    await db
      .deleteFrom('host_state')
      .where('organisation_id', '=', organisation)
      .where('name', '=', host)
      .execute();
    await db
      .deleteFrom('machine')
      .where('organisation_id', '=', organisation)
      .where('host', '=', host)
      .execute();
  }
}

/** Until its standing is reckoned. */
const unknown = {
  policies: '[]',
  promise_hours: 0,
  points: 0,
  last_point: null,
  due: null,
  last_error: null,
};

function rowOf(
  machine: MachineDto,
  seen: string,
): Omit<Insertable<Tables['machine']>, 'organisation_id' | keyof typeof unknown> {
  const { disks, notes } = machine;
  return {
    host: machine.host,
    name: machine.name,
    machine_id: machine.id,
    state: machine.state,
    memory: machine.memoryBytes,
    cpus: machine.cpus,
    disk_bytes: disks.reduce((sum, { size }) => sum + size, 0),
    disks: disks.length,
    agent: machine.agent,
    seen,
    gone: 0,
    detail: JSON.stringify({
      disks: disks.map(({ name, path, format, size, excluded }) => ({
        name,
        path,
        format,
        size,
        ...(excluded === undefined ? {} : { excluded }),
      })),
      notes,
    }),
  };
}
