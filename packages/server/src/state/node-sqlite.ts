/** Node's own SQLite as Kysely wants its driver. Statements are kept: preparing one takes longer than running most. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
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
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    const found = statements.get(sql) ?? database.prepare(sql);
    statements.delete(sql);
    statements.set(sql, found);
    const [oldest] = statements.keys();
    if (statements.size > mostStatements && oldest !== undefined) statements.delete(oldest);
    return found;
  };
  return {
    close: () => database.close(),
    prepare: (sql) => {
      const statement = prepared(sql);
      const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        run: (parameters) => statement.run(...values(parameters)),
        iterate: (parameters) => statement.iterate(...values(parameters)),
      };
    },
  };
}
