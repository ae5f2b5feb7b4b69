/** Opens Prima's state: SQLite in the home folder, or PostgreSQL; brought to the newest schema. */
import { toPrimaError, UserError } from '@prima/base';
import { Kysely, PostgresDialect, SqliteDialect } from 'kysely';
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
/**
 * Raises `usage`, `remote`, `newer-version`, `io`.
 * @param where a file's path, or `postgres://…`
 * @param onLost hears of connections that were lost while nobody used them
 */
export async function openState(
  where: string,
  onLost: (error: Error) => void = () => undefined,
): Promise<State> {
  const isPostgres = /^postgres(ql)?:\/\//.test(where);
  if (!isPostgres && /^\w+:\/\//.test(where))
    throw new UserError(
      'usage',
      `the database is a file, or postgres://USER@HOST/NAME; not ${where.split(':')[0]}`,
    );
  const kind = isPostgres ? 'postgres' : 'sqlite';
  const db = new Kysely<Tables>({
    dialect: isPostgres
      ? new PostgresDialect({ pool: openPool(where, onLost) })
      : new SqliteDialect({ database: openSqlite(where) }),
  });
  try {
    await migrate(db, kind);
    return { db, kind, close: () => db.destroy() };
  } catch (error) {
    await db.destroy();
    throw toPrimaError(error, 'opening the state of the server');
  }
}

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

async function migrate(db: Kysely<Tables>, kind: State['kind']): Promise<void> {
  const provider = { getMigrations: async () => migrations(kind) };
  const { error, results = [] } = await new Migrator({ db, provider }).migrateToLatest();
  if (error === undefined) return;
  const failed = results.find(({ status }) => status === 'Error')?.migrationName;
  if (error instanceof Error && /missing|corrupted/.test(error.message))
    throw new UserError(
      'newer-version',
      'the state was written by a newer version of Prima; update this one',
      {
        cause: error,
      },
    );
  throw toPrimaError(error, `bringing the state to ${failed ?? 'the newest schema'}`);
}
