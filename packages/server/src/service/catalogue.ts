/** What repositories hold, as rows: for pages and questions over all of them. The repositories are the truth; this can be read anew at any time. */
import { statfs } from 'node:fs/promises';
import type { PointDto } from '@prima/api';
import { type Clock, toPrimaError } from '@prima/base';
import type { Insertable, Kysely } from 'kysely';
import { problemOf } from '../problem.ts';
import type { Tables } from '../state/tables.ts';
import type { RepositoryRow, Tenants } from './tenants.ts';

const rowsAtOnce = 400;
const hour = 3_600_000;
const sizesKeptDays = 400;

export interface CatalogueParts {
  db: Kysely<Tables>;
  clock: Clock;
  tenants: Tenants;
}

export class Catalogue {
  readonly #parts: CatalogueParts;
  /** By repository: two that ask at once get one answer. */
  readonly #running = new Map<string, Promise<void>>();

  constructor(parts: CatalogueParts) {
    this.#parts = parts;
  }

  /** Raises what the repository raises, which is noted. */
  refresh(row: RepositoryRow): Promise<void> {
    const running =
      this.#running.get(row.id) ??
      this.#refresh(row).finally(() => {
        this.#running.delete(row.id);
      });
    this.#running.set(row.id, running);
    return running;
  }

  async #refresh(row: RepositoryRow): Promise<void> {
    const { db, clock, tenants } = this.#parts;
    const looked = new Date(clock.now()).toISOString();
    try {
      const application = await tenants.withRepository(row);
      const points = await application.points({});
      const { storedBytes } = await application.status();
      await this.#replace(
        row,
        points.filter((point) => !point.isHost),
      );
      const free = await freeBytes(row.url);
      const time = new Date(Math.floor(clock.now() / hour) * hour).toISOString();
      const size = { repository_id: row.id, time, stored: storedBytes };
      await db
        .insertInto('repository_size')
        .values(size)
        .onConflict((on) => on.columns(['repository_id', 'time']).doUpdateSet({ stored: storedBytes }))
        .execute();
      const oldest = new Date(clock.now() - sizesKeptDays * 24 * hour).toISOString();
      await db
        .deleteFrom('repository_size')
        .where('repository_id', '=', row.id)
        .where('time', '<', oldest)
        .execute();
      await db
        .updateTable('repository')
        .set({ looked, stored: storedBytes, free: free ?? null, error: null })
        .where('id', '=', row.id)
        .execute();
    } catch (error) {
      const failure = toPrimaError(error, `reading the repository ${row.name}`);
      await db
        .updateTable('repository')
        .set({ error: JSON.stringify(problemOf(failure)) })
        .where('id', '=', row.id)
        .execute();
      throw failure;
    }
  }

  async #replace(row: RepositoryRow, points: readonly PointDto[]): Promise<void> {
    const { db } = this.#parts;
    await db.transaction().execute(async (change) => {
      const before = await change
        .selectFrom('point')
        .select(['id', 'locked_until as locked'])
        .where('repository_id', '=', row.id)
        .execute();
      const known = new Map(before.map(({ id, locked }) => [id, locked]));
      const fresh = points.filter(({ id }) => !known.has(id)).map((point) => rowOf(row, point));
      for (let at = 0; at < fresh.length; at += rowsAtOnce)
        await change
          .insertInto('point')
          .values(fresh.slice(at, at + rowsAtOnce))
          .execute();
      for (const { id, lockedUntil = null } of points) {
        if (known.has(id) && known.get(id) !== lockedUntil)
          await change
            .updateTable('point')
            .set({ locked_until: lockedUntil })
            .where('repository_id', '=', row.id)
            .where('id', '=', id)
            .execute();
        known.delete(id);
      }
      const gone = [...known.keys()];
      for (let at = 0; at < gone.length; at += rowsAtOnce)
        await change
          .deleteFrom('point')
          .where('repository_id', '=', row.id)
          .where('id', 'in', gone.slice(at, at + rowsAtOnce))
          .execute();
    });
  }
}

function rowOf(
  { id: repository_id, organisation_id }: RepositoryRow,
  point: PointDto,
): Insertable<Tables['point']> {
  return {
    repository_id,
    id: point.id,
    organisation_id,
    host: point.host ?? null,
    machine: point.machine,
    machine_id: point.machineId,
    time: point.time,
    mode: point.mode,
    quiesced: point.quiesced ? 1 : 0,
    name: point.name ?? null,
    tags: JSON.stringify(point.tags),
    size: point.size,
    read: point.read,
    data: point.data,
    added: point.added,
    stored: point.stored,
    disks: point.disks.length,
    warnings: point.warnings.length,
    locked_until: point.lockedUntil ?? null,
    parent: point.parent ?? null,
    origin: point.origin?.point ?? null,
  };
}

/** Of a repository in a folder; undefined for others. */
async function freeBytes(url: string): Promise<number | undefined> {
  const path = url.startsWith('file://') ? new URL(url).pathname : url;
  if (!path.startsWith('/')) return undefined;
  const { bavail, bsize } = await statfs(path);
  return bavail * bsize;
}
