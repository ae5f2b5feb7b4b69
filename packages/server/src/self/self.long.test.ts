/** A backup of the state holds all tables, and comes back into an empty place alone. */
import assert from 'node:assert/strict';
import { mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { silentLogger, systemClock } from '@prima/base';
import { startPostgres, temporaryFolder } from '@prima/testbed';
import { sql } from 'kysely';
import { AuditLog } from '../accounts/audit.ts';
import { openState } from '../state/database.ts';
import { openArchive, writeArchive } from './archive.ts';
import { backUpSelf } from './back-up.ts';
import { keptTables, leftOut } from './kept-tables.ts';
import { restoreSelf } from './restore.ts';

const { signal } = new AbortController();
const passphrase = 'correct horse';
const how = { logger: silentLogger, signal };

/** A home and a state with more rows than a page, and files that belong in a backup and that do not. */
async function fullHome(t: TestContext, database?: string): Promise<{ home: string; database: string }> {
  const home = await temporaryFolder(t);
  const where = database ?? join(home, 'server.sqlite');
  for (const [path, text] of [
    ['server.key', 'key'],
    ['hosts.json', '{}'],
    ['organisations/o2/hosts.json', '{"a":1}'],
    ['repositories/abc/head.json', '{}'],
    ['locks/one', 'not this'],
    ['cache/two', 'nor this'],
  ] as const) {
    await mkdir(join(home, path, '..'), { recursive: true });
    await writeFile(join(home, path), text);
  }
  const state = await openState(where);
  const organisation = { created: '', settings: '{}' };
  for (const id of ['main', 'o2'])
    await state.db
      .insertInto('organisation')
      .values({ id, name: id, ...organisation })
      .execute();
  const log = new AuditLog(state.db, systemClock);
  for (let index = 0; index < 1203; index += 1)
    await log.append({ organisation: 'main', actor: 'ada', action: `act ${index}`, outcome: 'done' });
  await state.close();
  return { home, database: where };
}

async function auditOf(database: string): Promise<unknown[]> {
  const state = await openState(database);
  try {
    return await state.db
      .selectFrom('audit')
      .selectAll()
      .orderBy('organisation_id')
      .orderBy('sequence')
      .execute();
  } finally {
    await state.close();
  }
}

test('every table of the newest schema is kept or left out on purpose', async (t) => {
  const state = await openState(join(await temporaryFolder(t), 'state.sqlite'));
  t.after(() => state.close());
  const there = (await state.db.introspection.getTables())
    .map(({ name }) => name)
    .filter((name) => !name.startsWith('sqlite_'));
  assert.deepEqual(there.sort(), [...Object.keys(keptTables), ...leftOut].sort());
  for (const [table, key] of Object.entries(keptTables)) {
    const { rows } = await sql<{
      name: string;
      pk: number;
    }>`select name, pk from pragma_table_info(${table})`.execute(state.db);
    const primary = rows.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
    assert.deepEqual(
      primary.map(({ name }) => name),
      [...key],
      `the key of ${table}`,
    );
  }
});

test('from SQLite to PostgreSQL and back: all rows and files, and nothing else', async (t) => {
  const postgres = await startPostgres();
  t.after(() => postgres.stop());
  const full = await fullHome(t);
  const folder = await temporaryFolder(t);
  const first = join(folder, 'first');
  const made = await backUpSelf({ ...full, file: first, passphrase, ...how });
  assert.deepEqual([made.files, (await stat(first)).mode & 0o777], [4, 0o600]);
  await assert.rejects(backUpSelf({ ...full, file: first, passphrase, ...how }), { code: 'exists' });

  const home = join(folder, 'home');
  const database = postgres.url;
  const given = async () => passphrase;
  const back = await restoreSelf({ file: first, home, database, passphrase: given, ...how });
  assert.deepEqual([back.rows, back.files, back.brokenAudits], [made.rows, 4, []]);
  assert.deepEqual(await auditOf(database), await auditOf(full.database));
  assert.deepEqual((await readdir(home)).sort(), [
    'hosts.json',
    'organisations',
    'repositories',
    'server.key',
  ]);
  assert.equal(await readFile(join(home, 'organisations/o2/hosts.json'), 'utf8'), '{"a":1}');

  const second = join(folder, 'second');
  await backUpSelf({ home, database, file: second, passphrase: undefined, ...how });
  const again = join(folder, 'again');
  const file = join(again, 'server.sqlite');
  await restoreSelf({ file: second, home: again, database: file, passphrase: given, ...how });
  assert.deepEqual(await auditOf(file), await auditOf(full.database));
  assert.deepEqual(
    (await readdir(folder)).sort(),
    ['again', 'first', 'home', 'second'],
    'nothing is left beside',
  );
});

test('nothing is written over what is there, nor from a backup that is damaged', async (t) => {
  const full = await fullHome(t);
  const folder = await temporaryFolder(t);
  const file = join(folder, 'backup');
  await backUpSelf({ ...full, file, passphrase, ...how });
  const given = async () => passphrase;
  const into = (home: string, database = join(home, 'server.sqlite')) =>
    restoreSelf({ file, home, database, passphrase: given, ...how });
  await assert.rejects(into(full.home), { code: 'refused', message: /not empty/ });
  const home = join(folder, 'home');
  await assert.rejects(into(home, full.database), { code: 'refused', message: /holds a state/ });
  assert.deepEqual(await readdir(home), []);

  const bytes = await readFile(file);
  await writeFile(file, bytes.subarray(0, -1));
  await assert.rejects(into(home), { code: 'integrity' });
  assert.deepEqual(await readdir(home), []);
  await writeFile(file, bytes);
  await into(home);
  assert.equal((await auditOf(join(home, 'server.sqlite'))).length, 1203);
});

test('a backup of a later version, and one that is given up half-way, leave nothing', async (t) => {
  const full = await fullHome(t);
  const folder = await temporaryFolder(t);
  const file = join(folder, 'backup');
  await backUpSelf({ ...full, file, passphrase: undefined, ...how });
  const home = join(folder, 'home');
  const into = (from: string, aborted = signal) =>
    restoreSelf({
      file: from,
      home,
      database: join(home, 'server.sqlite'),
      passphrase: async () => passphrase,
      logger: silentLogger,
      signal: aborted,
    });

  const later = join(folder, 'later');
  const archive = await openArchive(file, async () => passphrase, signal);
  const out = await open(later, 'wx');
  const { header } = archive;
  await writeArchive(
    out,
    { ...header, schema: '9999-later' },
    { passphrase, lines: archive.lines(), signal },
  );
  await out.close();
  await assert.rejects(into(later), { code: 'newer-version' });
  assert.deepEqual(await readdir(home), []);

  const stop = new AbortController();
  const restoring = into(file, stop.signal);
  while (!(await readdir(home)).includes('server.key')) await new Promise((resolve) => setImmediate(resolve));
  stop.abort();
  await assert.rejects(restoring, { code: 'cancelled' });
  assert.deepEqual(await readdir(home), []);

  await into(file);
  assert.equal((await auditOf(join(home, 'server.sqlite'))).length, 1203);
});

test('where no server was ever started there is nothing to back up', async (t) => {
  const home = await temporaryFolder(t);
  const options = { home, database: join(home, 'server.sqlite'), file: join(home, 'b'), passphrase, ...how };
  await assert.rejects(backUpSelf(options), { code: 'not-found' });
  assert.deepEqual(await readdir(home), []);
});
