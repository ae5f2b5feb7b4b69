/** What happens by itself: policies whose time has come, hosts and repositories that are looked at again. */
import { type Clock, type Logger, toPrimaError } from '@prima/base';
import type { Kysely } from 'kysely';
import type { JobStore } from '../jobs/job-store.ts';
import type { Tables } from '../state/tables.ts';
import type { Catalogue } from './catalogue.ts';
import type { Inventory } from './inventory.ts';
import type { Policies } from './policies.ts';
import { readSettings } from './settings.ts';
import { reckonStanding } from './standing.ts';
import type { Tenants } from './tenants.ts';

export interface TickerParts {
  db: Kysely<Tables>;
  clock: Clock;
  logger: Logger;
  tenants: Tenants;
  catalogue: Catalogue;
  inventory: Inventory;
  policies: Policies;
  store: JobStore;
}

const everyMs = 5000;
const repositoryEveryMs = 60 * 60_000;
const pruneEveryMs = 24 * 60 * 60_000;

export class Ticker {
  readonly #parts: TickerParts;
  readonly #end = new AbortController();
  /** By what was looked at: when, on the monotonic clock. */
  readonly #looked = new Map<string, number>();
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: TickerParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#loop = this.#run();
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { clock, policies, store } = this.#parts;
    while (!this.#end.signal.aborted) {
      await this.#quietly('running policies', () => policies.runDue());
      await this.#quietly('looking at hosts and repositories', () => this.#look());
      if (this.#isDue('old jobs', pruneEveryMs))
        await this.#quietly('removing old jobs', () => store.prune());
      await clock.sleep(everyMs, this.#end.signal).catch(() => undefined); // aborted: it ends
    }
  }

  async #look(): Promise<void> {
    const { db, tenants, catalogue, inventory } = this.#parts;
    for (const { id } of await db.selectFrom('organisation').select('id').execute()) {
      const { inventoryMinutes } = await readSettings(db, id);
      let anything = false;
      for (const { name } of await (await tenants.of(id)).hostList()) {
        if (!this.#isDue(`host ${id} ${name}`, inventoryMinutes * 60_000)) continue;
        anything = true;
        await this.#quietly(`looking at ${name}`, () => inventory.refresh(id, name));
      }
      for (const row of await tenants.repositories(id)) {
        if (!this.#isDue(`repository ${row.id}`, repositoryEveryMs)) continue;
        anything = true;
        await this.#quietly(`looking at ${row.name}`, () => catalogue.refresh(row));
      }
      if (anything) await reckonStanding(db, id);
    }
  }

  #isDue(key: string, everyMs: number): boolean {
    const now = this.#parts.clock.monotonic();
    const looked = this.#looked.get(key);
    if (looked !== undefined && now - looked < everyMs) return false;
    this.#looked.set(key, now);
    return true;
  }

  async #quietly(what: string, task: () => Promise<void>): Promise<void> {
    if (this.#end.signal.aborted) return;
    try {
      await task();
    } catch (error) {
      this.#parts.logger.warn(toPrimaError(error, what).message);
    }
  }
}
