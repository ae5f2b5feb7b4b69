/** Brings Prima's own state back from a backup, into a home folder and a database that are empty. */
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  createFile,
  FormatError,
  type Logger,
  PrimaError,
  syncFolder,
  systemClock,
  systemErrorCode,
  temporaryPrefix,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { type Kysely, sql } from 'kysely';
import { randomBytes } from 'node:crypto';
import { AuditLog } from '../accounts/audit.ts';
import { openHome } from '../home.ts';
import { openState } from '../state/database.ts';
import type { Tables } from '../state/tables.ts';
import { type Archive, type Header, type Line, openArchive } from './archive.ts';
import { isHomeFile } from './home-files.ts';
import { isKept } from './kept-tables.ts';

export interface SelfRestore {
  file: string;
  home: string;
  /** A file's path, or `postgres://…`. */
  database: string;
  /** Asked for only where the backup is encrypted. */
  passphrase: () => Promise<string>;
  logger: Logger;
  signal: AbortSignal;
}

export interface SelfRestored extends Pick<Header, 'created' | 'prima'> {
  rows: number;
  files: number;
  /** Organisations whose audit log is not whole; it was not before, either. */
  brokenAudits: string[];
}

const rowsAtOnce = 200;
/** Either the whole restore is there, or none of it: what the home folder may hold before. */
const mayBeThere = new Set(['journal', 'locks', 'exports', 'cache']);

/** Raises `refused` where something is there, `wrong-key`, `integrity`, `format`, `newer-version`, and what database and file system raise. */
export async function restoreSelf(options: SelfRestore): Promise<SelfRestored> {
  const { logger, signal } = options;
  const archive = await openArchive(resolve(options.file), options.passphrase, signal);
  const counted = await checkWhole(archive, options.file);
  logger.info(
    `the backup of ${archive.header.created} is whole: ${counted.rows} rows, ${counted.files} files`,
  );
  const { folder: home } = await openHome(options.home);
  await checkEmptyHome(home);
  const target = await targetOf(options.database);
  const made: string[] = [];
  try {
    const brokenAudits = await fill(archive, { where: target.path, home, made, signal });
    await target.finish();
    const { created, prima } = archive.header;
    return { created, prima, ...counted, brokenAudits };
  } catch (error) {
    for (const path of made) await rm(path, { recursive: true, force: true });
    await target.discard();
    throw toPrimaError(error, `restoring Prima's own state from ${options.file}`);
  }
}

/** Reads all of it: nothing is begun with a backup that turns out to be damaged in its middle. */
async function checkWhole(archive: Archive, path: string): Promise<{ rows: number; files: number }> {
  const found = { rows: 0, files: 0 };
  let columns = 0;
  for await (const line of archive.lines()) {
    if (Array.isArray(line)) {
      found.rows += 1;
      if (line.length !== columns)
        throw new FormatError(`${path} has a row of ${line.length} columns, not ${columns}`);
    } else if ('table' in line) {
      columns = line.columns.length;
      const isPlain = [line.table, ...line.columns].every((name) => /^[a-z_]{1,64}$/.test(name));
      if (!isPlain || !isKept(line.table))
        throw new PrimaError(
          'newer-version',
          `${path} has a table ${line.table}, which this version does not know; update it`,
        );
    } else if ('file' in line) {
      found.files += 1;
      if (!isHomeFile(line.file))
        throw new FormatError(
          `${path} has a file ${JSON.stringify(line.file)}, which is none of a home folder`,
        );
    } else if (line.end.rows !== found.rows || line.end.files !== found.files) {
      throw new FormatError(
        `${path} holds ${found.rows} rows and ${found.files} files, not as many as it says`,
      );
    }
  }
  return found;
}

async function checkEmptyHome(home: string): Promise<void> {
  const there = (await readdir(home)).filter(
    (name) => !mayBeThere.has(name) && !name.startsWith(temporaryPrefix),
  );
  if (there.length > 0)
    throw new PrimaError(
      'refused',
      `${home} is not empty (${there.slice(0, 5).join(', ')}); nothing is overwritten: choose another --home, or move it away`,
    );
}

interface Target {
  /** What is filled. */
  path: string;
  finish: () => Promise<void>;
  discard: () => Promise<void>;
}

/** A file is filled under another name, so that it is there as a whole or not at all. */
async function targetOf(database: string): Promise<Target> {
  if (/^postgres(ql)?:\/\//.test(database))
    return { path: database, finish: async () => undefined, discard: async () => undefined };
  const final = resolve(database);
  if (await isThere(final)) throw holdsState(final);
  const path = join(dirname(final), `${temporaryPrefix}${randomBytes(8).toString('hex')}`);
  return {
    path,
    finish: async () => {
      await rename(path, final);
      await syncFolder(dirname(final));
    },
    discard: async () => {
      for (const suffix of ['', '-wal', '-shm']) await rm(`${path}${suffix}`, { force: true });
    },
  };
}

async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

const holdsState = (what: string): PrimaError =>
  new PrimaError('refused', `${what} holds a state already; nothing is overwritten: choose an empty one`);

/** @param made gets what was not there before, files and folders */
async function putFiles(archive: Archive, home: string, made: string[]): Promise<void> {
  for await (const line of archive.lines()) {
    if (Array.isArray(line) || !('file' in line)) continue;
    const path = join(home, line.file);
    const folder = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    made.push(folder ?? path);
    await createFile(path, Buffer.from(line.base64, 'base64'), line.mode & 0o700);
  }
}

/** Nothing is written in the home folder before the database has taken the schema and is known to be empty. */
async function fill(
  archive: Archive,
  { where, home, made, signal }: { where: string; home: string; made: string[]; signal: AbortSignal },
): Promise<string[]> {
  const old = await openState(where, { schema: archive.header.schema });
  try {
    if (await old.db.selectFrom('organisation').select('id').limit(1).executeTakeFirst())
      throw holdsState('the database');
    await putFiles(archive, home, made);
    await old.db.transaction().execute((db) => insertAll(db, archive.lines(), signal));
  } finally {
    await old.close();
  }
  const state = await openState(where); // to the newest schema
  try {
    const broken: string[] = [];
    const log = new AuditLog(state.db, systemClock);
    for (const { id, name } of await state.db.selectFrom('organisation').select(['id', 'name']).execute())
      if (!(await log.verify(id)).isWhole) broken.push(name);
    return broken;
  } finally {
    await state.close();
  }
}

async function insertAll(db: Kysely<Tables>, lines: AsyncIterable<Line>, signal: AbortSignal): Promise<void> {
  let table: { table: string; columns: string[] } | undefined;
  let rows: (string | number | null)[][] = [];
  const flush = async () => {
    if (table && rows.length > 0) {
      const columns = sql.join(table.columns.map((name) => sql.ref(name)));
      const values = sql.join(rows.map((row) => sql`(${sql.join(row)})`));
      await sql`insert into ${sql.table(table.table)} (${columns}) values ${values}`.execute(db);
    }
    rows = [];
  };
  for await (const line of lines) {
    throwIfAborted(signal, 'filling the database');
    if (Array.isArray(line)) {
      rows.push(line);
      if (rows.length === rowsAtOnce) await flush();
      continue;
    }
    await flush();
    if ('table' in line) table = line;
  }
}
