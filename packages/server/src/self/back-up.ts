/** Backs up Prima's own state, while a server works on it or not. */
import { link, open, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  type Logger,
  PrimaError,
  syncFolder,
  systemErrorCode,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type Kysely, sql } from 'kysely';
import { randomBytes } from 'node:crypto';
import manifest from '../../package.json' with { type: 'json' };
import { openState, schemaOf, type State } from '../state/database.ts';
import type { Tables } from '../state/tables.ts';
import { type Line, writeArchive } from './archive.ts';
import { homeFiles } from './home-files.ts';
import { isKept, type KeptTable, keptTables, leftOut } from './kept-tables.ts';

export interface SelfBackup {
  home: string;
  /** A file's path, or `postgres://…`. */
  database: string;
  /** Where the backup is made; nothing may be there. */
  file: string;
  /** Undefined: whoever has the file can read it, the server's key included. */
  passphrase: string | undefined;
  logger: Logger;
  signal: AbortSignal;
}

export interface SelfBackedUp {
  bytes: number;
  rows: number;
  files: number;
}

const rowsAtOnce = 500;

/** Raises `exists`, `not-found`, `newer-version`, and what the database and the file system raise. */
export async function backUpSelf(options: SelfBackup): Promise<SelfBackedUp> {
  const { home, database, passphrase, signal } = options;
  const path = resolve(options.file);
  const temporary = `${dirname(path)}/${temporaryPrefix}${randomBytes(8).toString('hex')}`;
  const state = await openState(database, { schema: 'as-is' });
  try {
    const count = { rows: 0, files: 0 };
    const file = await open(temporary, 'wx', 0o600);
    let bytes: number;
    try {
      bytes = await inSnapshot(state, async (db) => {
        const lines = linesOf({ db, home, count, logger: options.logger, signal });
        const about = {
          created: new Date().toISOString(),
          prima: manifest.version,
          schema: await schemaOf(db, state.kind),
          database: state.kind,
        };
        return writeArchive(file, about, { passphrase, lines, signal });
      });
      await file.sync();
    } finally {
      await file.close();
    }
    await linkNew(temporary, path);
    return { bytes, ...count };
  } catch (error) {
    throw toPrimaError(error, `backing up Prima's own state to ${path}`);
  } finally {
    await rm(temporary, { force: true });
    await state.close();
  }
}

async function linkNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error;
    throw new PrimaError('exists', `${path} is there already; choose another name`, { cause: error });
  }
  await syncFolder(dirname(path));
}

/** All is read as it was at one moment. */
async function inSnapshot<T>({ db, kind }: State, read: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
  const transaction = db.transaction();
  if (kind === 'sqlite') return transaction.execute(read);
  return transaction.setIsolationLevel('repeatable read').setAccessMode('read only').execute(read);
}

interface Reading {
  db: Kysely<Tables>;
  home: string;
  count: { rows: number; files: number };
  logger: Logger;
  signal: AbortSignal;
}

async function* linesOf({ db, home, count, logger, signal }: Reading): AsyncGenerator<Line> {
  for (const { name, columns } of await tablesOf(db)) {
    yield { table: name, columns };
    const before = count.rows;
    for await (const row of rowsOf(db, name, columns)) {
      throwIfAborted(signal, `reading ${name}`);
      count.rows += 1;
      yield row;
    }
    logger.debug(`${name}: ${count.rows - before} rows`);
  }
  for await (const { path, mode, bytes } of homeFiles(home)) {
    count.files += 1;
    yield { file: path, mode, base64: bytes.toString('base64') };
  }
  yield { end: { ...count } };
}

/** Those that there are, parents first. Raises `newer-version` for one that is not known. */
async function tablesOf(db: Kysely<Tables>): Promise<{ name: KeptTable; columns: string[] }[]> {
  const there = (await db.introspection.getTables()).filter(
    ({ isView, name }) => !isView && !name.startsWith('sqlite_'),
  );
  const unknown = there.find(({ name }) => !isKept(name) && !(leftOut as readonly string[]).includes(name));
  if (unknown)
    throw new PrimaError(
      'newer-version',
      `the state has a table ${unknown.name}, which this version does not know; update it`,
    );
  return (Object.keys(keptTables) as KeptTable[]).flatMap((name) => {
    const found = there.find((one) => one.name === name);
    return found ? [{ name, columns: found.columns.map((column) => column.name) }] : [];
  });
}

type Row = (string | number | null)[];

/** By pages of the key: no table is in memory as a whole. */
async function* rowsOf(
  db: Kysely<Tables>,
  table: KeptTable,
  columns: readonly string[],
): AsyncGenerator<Row> {
  const key: readonly string[] = keptTables[table];
  const list = (names: readonly string[]) => sql.join(names.map((name) => sql.ref(name)));
  let after: Row | undefined;
  for (;;) {
    const rest = after === undefined ? sql`` : sql`where (${list(key)}) > (${sql.join(after)})`;
    const { rows } = await sql<Record<string, Row[number]>>`
      select ${list(columns)} from ${sql.table(table)} ${rest} order by ${list(key)} limit ${sql.lit(rowsAtOnce)}
    `.execute(db);
    for (const row of rows) yield columns.map((column) => row[column] ?? null);
    const last = rows.at(-1);
    if (rows.length < rowsAtOnce || !last) return;
    after = key.map((column) => last[column] ?? null);
  }
}
