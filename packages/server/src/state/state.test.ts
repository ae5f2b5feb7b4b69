/** One schema in two databases: what holds of it holds of both. */
import assert from 'node:assert/strict';
import { open, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '@prima/testbed';
import { openState } from './database.ts';

test('SQLite: made, opened again, and the audit log only grows', async (t) => {
  const path = join(await temporaryFolder(t), 'state.sqlite');
  const made = await openState(path);
  await made.db
    .insertInto('organisation')
    .values({ id: 'a', name: 'A', created: '', settings: '{}' })
    .execute();
  const entry = {
    organisation_id: 'a',
    sequence: 1,
    time: '',
    actor: '',
    action: '',
    details: '{}',
    hash: '',
  };
  await made.db
    .insertInto('audit')
    .values({ ...entry, target: null, outcome: 'done' })
    .execute();
  await assert.rejects(made.db.deleteFrom('audit').execute(), /append-only/);
  await assert.rejects(made.db.updateTable('audit').set({ actor: 'x' }).execute(), /append-only/);
  await made.close();
  const again = await openState(path);
  assert.equal((await again.db.selectFrom('organisation').selectAll().execute()).length, 1);
  await again.db
    .insertInto('kysely_migration' as 'organisation')
    .values({ name: '9999-later', timestamp: '' } as never)
    .execute();
  await again.close();
  await assert.rejects(openState(path), { code: 'newer-version' });
  await assert.rejects(openState('mysql://x'), { code: 'usage' });
});

test('SQLite: a file that is damaged or none is said to be that', async (t) => {
  const folder = await temporaryFolder(t);
  const other = join(folder, 'letter');
  await writeFile(other, 'Dear database,\n'.repeat(1000));
  await assert.rejects(openState(other), { code: 'integrity', message: /letter is no database.*backup/ });

  const path = join(folder, 'state.sqlite');
  await (await openState(path)).close();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const file = await open(path, 'r+');
  await file.write(Buffer.alloc(4096 * 3, 0x5a), 0, 4096 * 3, 4096);
  await file.close();
  await assert.rejects(openState(path), { code: 'integrity', message: /state\.sqlite is damaged/ });
  await truncate(path, 5000);
  await assert.rejects(openState(path), { code: 'integrity' });
  await assert.rejects(openState(join(folder, 'nowhere', 'state.sqlite')), { code: 'not-found' });
});
