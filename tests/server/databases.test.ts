/** What holds of the server's state holds in PostgreSQL as in SQLite: accounts, the audit chain, jobs that are claimed by one of two servers. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startPostgres, temporaryFolder, waitUntil } from '@prima/testbed';
import { administrator, serverWorld, Visitor } from './server-fixture.ts';

test('PostgreSQL: a disk is backed up, and two servers on one database run each job once', async (t) => {
  const postgres = await startPostgres();
  const first = await serverWorld(t, { database: postgres.url });
  const admin = await administrator(first);
  const folder = await temporaryFolder(t);
  const disk = join(folder, 'disk.raw');
  await writeFile(disk, Buffer.alloc(4 * 1024 * 1024, 'prima'));
  await admin.call('addRepository', {
    body: { name: 'main', url: join(folder, 'repository'), passphrase: 'a passphrase', create: true },
  });
  await admin.operate('backup', { sources: [disk] }, 'main');
  await waitUntil(async () => (await admin.call('listPoints', { query: {} })).items.length === 1, {
    what: 'the point to be in the catalogue',
  });
  const [repository] = (await admin.call('listRepositories')).items;
  assert.equal(repository?.points, 1);
  assert.ok((await admin.call('getOverview')).storage.stored > 0);

  const lost = new Visitor(first.server.url);
  await lost.signIn('admin');
  const { items } = await lost.call('listSessions');
  await admin.call('endSession', { path: { id: items.find(({ isThis }) => isThis)?.id ?? '' } });
  await assert.rejects(lost.call('getSession'));

  const second = await first.another();
  t.after(() => postgres.stop()); // after the servers have ended
  const ids: string[] = [];
  for (let count = 0; count < 8; count += 1) {
    const response = await fetch(
      `${(count % 2 === 0 ? first.server : second).url}/api/v1/operations/check?repository=main`,
      {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...admin.headers },
        body: '{}',
      },
    );
    const { job } = (await response.json()) as { job: { id: string } };
    ids.push(job.id);
  }
  for (const id of ids) await admin.follow(id);
  for (const id of ids) {
    const { items } = await admin.call('listJobEvents', { path: { id } });
    const begun = items.filter(({ event }) => event.type === 'state' && event.state === 'running');
    assert.equal(begun.length, 1, id);
  }
  const elsewhere = new Visitor(second.url);
  await elsewhere.signIn('admin');
  const { isWhole, entries } = await elsewhere.call('verifyAudit');
  assert.ok(isWhole && entries >= 10);
});
