/**
 * Node's own SQLite as Kysely wants its driver. Statements are kept: preparing one takes longer than running most. Rows are taken as
 * arrays and made objects here: those of node:sqlite are dictionaries, which are slow to make and slow to read.
 */
import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import type { SqliteDatabase } from 'kysely';

const mostStatements = 500;

/** Opens the file, or makes it. Durable at each commit, readers beside the writer. */
export function openSqlite(path: string): SqliteDatabase {
  const database = new DatabaseSync(path);
  for (const pragma of [
    'journal_mode = WAL',
    'synchronous = FULL',
    'foreign_keys = ON',
    'busy_timeout = 10000',
  ])
    database.exec(`PRAGMA ${pragma}`);
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
      const { statement, columns } = prepared(sql);
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: columns.length > 0,
        all: (parameters) => statement.all(...values(parameters)).map((row) => named(columns, row)),
        run: (parameters) => statement.run(...values(parameters)),
        iterate: function* (parameters) {
          for (const row of statement.iterate(...values(parameters))) yield named(columns, row);
        },
      };
    },
  };
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
