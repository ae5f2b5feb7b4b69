/**
 * Node's own SQLite as Kysely wants its driver. Statements are kept: preparing one takes longer than running most. Rows are taken as
 * arrays and made objects here: those of node:sqlite are dictionaries, which are slow to make and slow to read.
 */
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { type ErrorCode, PrimaError, toPrimaError } from '@prima/base';
import type { SqliteDatabase } from 'kysely';

const mostStatements = 500;

/**
 * Opens the file, or makes it. Durable at each commit, readers beside the writer.
 * It and its statements raise `integrity` where the file is damaged or no database, `no-space`, `permission`, `busy` and `io`.
 */
export function openSqlite(path: string): SqliteDatabase {
  const told = <T>(task: () => T): T => {
    try {
      return task();
    } catch (error) {
      throw sqliteError(error, path);
    }
  };
  const database = told(() => openDatabase(path));
  const statements = new Map<string, Prepared>();
  const prepared = (sql: string): Prepared => {
    const found = statements.get(sql) ?? prepare(database, sql);
    statements.delete(sql);
    statements.set(sql, found);
    const [oldest] = statements.keys();
    if (statements.size > mostStatements && oldest !== undefined) statements.delete(oldest);
    return found;
  };
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const { statement, columns } = told(() => prepared(sql));
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: columns.length > 0,
        all: (parameters) =>
          told(() => statement.all(...values(parameters))).map((row) => named(columns, row)),
        run: (parameters) => told(() => statement.run(...values(parameters))),
        iterate: function* (parameters) {
          const rows = told(() => statement.iterate(...values(parameters)));
          for (let next = told(() => rows.next()); !next.done; next = told(() => rows.next()))
            yield named(columns, next.value);
        },
      };
    },
  };
}

/** For its owner alone; what SQLite puts beside it has the same mode. */
function made(path: string): string {
  try {
    closeSync(openSync(path, 'a', 0o600));
  } catch (error) {
    throw toPrimaError(error, 'opening the database');
  }
  return path;
}

function openDatabase(path: string): DatabaseSync {
  const database = new DatabaseSync(made(path));
  for (const pragma of [
    'journal_mode = WAL',
    'synchronous = FULL',
    'foreign_keys = ON',
    'busy_timeout = 10000',
  ])
    database.exec(`PRAGMA ${pragma}`);
  return database;
}

/** By SQLite's primary result codes (https://www.sqlite.org/rescode.html): what they are here, and what is to be said of them. */
const failures: Partial<Record<number, [ErrorCode, string]>> = {
  3: ['permission', 'may not be used'],
  5: ['busy', 'is being written by another process'],
  8: ['permission', 'may not be written'],
  10: ['io', 'cannot be read or written'],
  11: ['integrity', 'is damaged; end the server and put it back from a backup'],
  13: ['no-space', 'has no room left'],
  14: ['io', 'cannot be opened'],
  26: ['integrity', 'is no database, or damaged; end the server and put it back from a backup'],
};

/** What is no failure of the file, such as a broken constraint, stays what it is. */
function sqliteError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return error;
  const [code, what] = failures[error.errcode & 0xff] ?? [];
  if (code === undefined) return error;
  const retryable = code === 'busy';
  return new PrimaError(code, `${path} ${what} (SQLite: ${error.message})`, { cause: error, retryable });
}

interface Prepared {
  statement: StatementSync;
  /** Names of what it answers; none for one that answers nothing. */
  columns: readonly string[];
}

function prepare(database: DatabaseSync, sql: string): Prepared {
  const statement = database.prepare(sql);
  statement.setReturnArrays(true);
  return { statement, columns: statement.columns().map(({ name }) => name) };
}

type Value = SQLOutputValue;

/** @param values as `setReturnArrays` makes a row; the types know only objects */
function named(columns: readonly string[], values: unknown): Record<string, Value> {
  const row: Record<string, Value> = {};
  for (let index = 0; index < columns.length; index += 1)
    row[columns[index] ?? ''] = (values as Value[])[index] ?? null;
  return row;
}
