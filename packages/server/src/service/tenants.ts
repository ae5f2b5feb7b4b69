/**
 * Organisations as applications: each has a home folder, and with it hosts, locks and a journal of its own; each of its repositories is opened
 * once. What one organisation does cannot name what is another's.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PrimaApi } from '@prima/api';
import type { RepositoryRow as RepositoryDto } from '@prima/api/http';
import { type Logger, PrimaError } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import { providerId } from '../accounts/sessions.ts';
import type { Sealer } from '../accounts/sealing.ts';
import { createApplication } from '../application.ts';
import type { Tables } from '../state/tables.ts';

export type RepositoryRow = Selectable<Tables['repository']>;

export interface TenantsOptions {
  db: Kysely<Tables>;
  /** Of the first organisation: what the command line uses without a server, too. */
  home: string;
  sealer: Sealer;
  logger: Logger;
}

export const limitsOf = ({ limits }: Pick<RepositoryRow, 'limits'>): RepositoryDto['limits'] =>
  JSON.parse(limits) as RepositoryDto['limits'];

export const secretOfRepository = (id: string): string => `repository ${id}`;

export class Tenants {
  readonly #options: TenantsOptions;
  /** By organisation, and by repository. */
  readonly #opened = new Map<string, Promise<PrimaApi>>();
  #closed = false;

  constructor(options: TenantsOptions) {
    this.#options = options;
  }

  homeOf(organisation: string): string {
    const { home } = this.#options;
    return organisation === providerId ? home : join(home, 'organisations', organisation);
  }

  /** For what needs no repository. */
  async of(organisation: string): Promise<PrimaApi> {
    return this.#open(organisation, async () =>
      createApplication({ home: await this.#home(organisation), logger: this.#options.logger }),
    );
  }

  async repositories(organisation: string): Promise<RepositoryRow[]> {
    return this.#options.db
      .selectFrom('repository')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute();
  }

  /** By name; without one, the only one there is. Raises `not-found`, `ambiguous`. */
  async repository(organisation: string, name?: string): Promise<RepositoryRow> {
    const all = await this.repositories(organisation);
    const found = name === undefined ? all : all.filter((row) => row.name === name);
    const [first] = found;
    if (first && found.length === 1) return first;
    const known = all.map((row) => row.name).join(', ');
    if (first) throw new PrimaError('ambiguous', `there are several repositories: ${known}; name one`);
    throw new PrimaError(
      'not-found',
      name === undefined
        ? 'there is no repository yet; add one first'
        : `there is no repository "${name}"${known === '' ? '' : `; there are: ${known}`}`,
    );
  }

  secretOf({ id, secret }: RepositoryRow): string {
    return this.#options.sealer.open(secret, secretOfRepository(id));
  }

  async withRepository(row: RepositoryRow): Promise<PrimaApi> {
    const { logger } = this.#options;
    const { read: download, store: upload } = limitsOf(row);
    return this.#open(row.id, async () =>
      createApplication({
        store: {
          ...(upload === undefined ? {} : { upload }),
          ...(download === undefined ? {} : { download }),
        },
        home: await this.#home(row.organisation_id),
        repository: row.url,
        secret: async () => ({ kind: 'passphrase', text: this.secretOf(row) }),
        logger,
      }),
    );
  }

  /** After its settings have changed, or it is gone. */
  async forget(id: string): Promise<void> {
    const opened = this.#opened.get(id);
    this.#opened.delete(id);
    await (await opened?.catch(() => undefined))?.close();
  }

  async close(): Promise<void> {
    this.#closed = true;
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    for (const one of await Promise.allSettled(opened))
      if (one.status === 'fulfilled') await one.value.close();
  }

  async #home(organisation: string): Promise<string> {
    const home = this.homeOf(organisation);
    await mkdir(home, { recursive: true, mode: 0o700 });
    return home;
  }

  async #open(key: string, open: () => Promise<PrimaApi>): Promise<PrimaApi> {
    if (this.#closed) throw new PrimaError('cancelled', 'the server is ending', { retryable: true });
    const opened = this.#opened.get(key) ?? open();
    this.#opened.set(key, opened);
    try {
      return await opened;
    } catch (error) {
      if (this.#opened.get(key) === opened) this.#opened.delete(key);
      throw error;
    }
  }
}
