/** Opens Prima's state: SQLite in the home folder, or PostgreSQL; brought to the newest schema. */
import { access } from 'node:fs/promises';
import { PrimaError, toPrimaError, UserError } from '@prima/base';
import { Kysely, PostgresDialect, sql, SqliteDialect } from 'kysely';
import { Migrator } from 'kysely/migration';
import { Pool, types } from 'pg';
import { migrations } from './migrations.ts';
import { openSqlite } from './node-sqlite.ts';
import type { Tables } from './tables.ts';

export interface State {
  db: Kysely<Tables>;
  kind: 'sqlite' | 'postgres';
  close(): Promise<void>;
}

const connectionsAtMost = 10;
const statementTimeoutMs = 30_000;

export interface OpenStateOptions {
  /** Hears of connections that were lost while nobody used them. */
  onLost?: (error: Error) => void;
  /** `newest`: brought to it (the default); `as-is`: nothing is changed; else the name of a step, for a state that is empty. */
  schema?: string;
}

/**
 * Raises `usage`, `not-found` (of one that is to be taken as it is), `remote`, `newer-version`, `integrity`, `io`.
 * @param where a file's path, or `postgres://…`
 */
export async function openState(where: string, options: OpenStateOptions = {}): Promise<State> {
  const { onLost = () => undefined, schema = 'newest' } = options;
  const isPostgres = /^postgres(ql)?:\/\//.test(where);
  if (!isPostgres && /^\w+:\/\//.test(where))
    throw new UserError(
      'usage',
      `the database is a file, or postgres://USER@HOST/NAME; not ${where.split(':')[0]}`,
    );
  if (!isPostgres && schema === 'as-is') await checkIsThere(where);
  const kind = isPostgres ? 'postgres' : 'sqlite';
  const db = new Kysely<Tables>({
    dialect: isPostgres
      ? new PostgresDialect({ pool: openPool(where, onLost) })
      : new SqliteDialect({ database: openSqlite(where) }),
  });
  try {
    if (schema === 'as-is') await schemaOf(db, kind);
    else await migrate(db, kind, schema);
    return { db, kind, close: () => db.destroy() };
  } catch (error) {
    await db.destroy();
    throw toPrimaError(error, 'opening the state of the server');
  }
}

async function checkIsThere(path: string): Promise<void> {
  try {
    await access(path);
  } catch (error) {
    throw new PrimaError('not-found', `there is no state in ${path}; a server makes it at its first start`, {
      cause: error,
    });
  }
}

/** The name of the last step that was made. Raises `not-found`, `newer-version`. */
export async function schemaOf(db: Kysely<Tables>, kind: State['kind']): Promise<string> {
  const made = await migrator(db, kind).getMigrations();
  const last = made.findLast(({ executedAt }) => executedAt !== undefined)?.name;
  if (last === undefined)
    throw new PrimaError(
      'not-found',
      'there is no state in this database; a server makes it at its first start',
    );
  const { rows } = await sql<{ name: string }>`select name from kysely_migration`.execute(db);
  if (rows.some(({ name }) => !made.some((step) => step.name === name))) throw newer();
  return last;
}

function migrator(db: Kysely<Tables>, kind: State['kind']): Migrator {
  return new Migrator({ db, provider: { getMigrations: async () => migrations(kind) } });
}

const newer = (cause?: unknown): UserError =>
  new UserError('newer-version', 'the state was written by a newer version of Prima; update this one', {
    cause,
  });

function openPool(connectionString: string, onLost: (error: Error) => void): Pool {
  types.setTypeParser(types.builtins.INT8, Number); // ours are below 2^53
  const pool = new Pool({
    connectionString,
    max: connectionsAtMost,
    connectionTimeoutMillis: statementTimeoutMs,
    statement_timeout: statementTimeoutMs,
    application_name: 'prima',
  });
  pool.on('error', onLost); // of a connection that nobody uses just now: the next query makes another
  return pool;
}

async function migrate(db: Kysely<Tables>, kind: State['kind'], schema: string): Promise<void> {
  if (schema !== 'newest' && !Object.hasOwn(migrations(kind), schema)) throw newer();
  const steps = migrator(db, kind);
  const { error, results = [] } =
    schema === 'newest' ? await steps.migrateToLatest() : await steps.migrateTo(schema);
  if (error === undefined) return;
  const failed = results.find(({ status }) => status === 'Error')?.migrationName;
  if (error instanceof Error && /missing|corrupted/.test(error.message)) throw newer(error);
  throw toPrimaError(error, `bringing the state to ${failed ?? 'the newest schema'}`);
}
