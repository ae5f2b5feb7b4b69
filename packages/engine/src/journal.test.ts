import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { link, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger } from '@prima/base';
import { Journal } from './journal.ts';

async function setUp() {
  const path = await mkdtemp(join(tmpdir(), 'prima-journal-'));
  const said: string[] = [];
  const hosts: string[] = [];
  const journal = new Journal(join(path, 'journal'), {
    logger: createLogger((event) => said.push(`${event.level}: ${event.message}`)),
    recoverHost: async (host) => {
      if (host === 'down') throw new Error('no route');
      hosts.push(host);
      return [`web01: thawed`];
    },
    removePrivateHost: async () => [],
  });
  const entries = async () => (await readdir(join(path, 'journal'))).sort();
  return {
    path,
    said,
    hosts,
    journal,
    entries,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** Makes the journal's entries look as if their process had died. */
async function die(folder: string): Promise<void> {
  const { pid } = spawnSync('true');
  for (const name of await readdir(folder)) {
    const record = JSON.parse(await readFile(join(folder, name), 'utf8')) as { owner: { pid: number } };
    record.owner.pid = pid;
    await writeFile(join(folder, name), JSON.stringify(record));
  }
}

test('work that ends leaves no entry, work under way is left alone', async () => {
  await using at = await setUp();
  const entry = await at.journal.begin('restoring web01', [{ kind: 'host', host: 'lab' }]);
  assert.equal((await at.entries()).length, 1);
  assert.deepEqual(await at.journal.recover(), { undone: [], left: [] });
  await entry.end();
  await entry.end();
  assert.deepEqual(await at.entries(), []);
  assert.deepEqual(at.hosts, []);
});

test('what a dead process left is undone and said', async () => {
  await using at = await setUp();
  const temporary = join(at.path, '.tmp-disk0.raw-1');
  const published = join(at.path, 'disk0.raw');
  const made = join(at.path, 'made');
  await mkdir(made);
  await writeFile(temporary, 'x');
  await link(temporary, published);
  await writeFile(join(at.path, '.tmp-disk1.raw-1'), 'x');
  await writeFile(join(at.path, 'disk1.raw'), 'another file of that name');
  const entry = await at.journal.begin('restoring web01', [{ kind: 'folder', path: made }]);
  await entry.intend({ kind: 'temporary', path: temporary, published });
  await entry.intend({
    kind: 'temporary',
    path: join(at.path, '.tmp-disk1.raw-1'),
    published: join(at.path, 'disk1.raw'),
  });
  await entry.intend({ kind: 'host', host: 'lab' });
  await die(join(at.path, 'journal'));
  const report = await at.journal.recover();
  assert.equal(report.left.length, 0);
  assert.equal(report.undone.length, 5);
  assert.match(at.said.join('\n'), /restoring web01.*did not end: removed .*\.tmp-disk0/);
  assert.deepEqual((await readdir(at.path)).sort(), ['disk1.raw', 'journal']);
  assert.deepEqual(at.hosts, ['lab']);
  assert.deepEqual(await at.entries(), []);
});

test('what cannot be undone is said and tried again', async () => {
  await using at = await setUp();
  await at.journal.begin('backing up web01', [{ kind: 'host', host: 'down' }]);
  await die(join(at.path, 'journal'));
  for (const _ of [1, 2]) {
    const { left } = await at.journal.recover();
    assert.match(left.join(), /could not be undone.*no route/);
    assert.equal((await at.entries()).length, 1);
  }
});

test('a damaged entry removes nothing and is moved aside', async () => {
  await using at = await setUp();
  const precious = join(at.path, 'precious');
  await writeFile(precious, 'x');
  const entry = await at.journal.begin('x');
  const file = join(at.path, 'journal', `${entry.id}.json`);
  const record = JSON.parse(await readFile(file, 'utf8')) as { undo: unknown[] };
  record.undo.push({ kind: 'temporary', path: precious });
  await writeFile(file, JSON.stringify(record));
  await writeFile(join(at.path, 'journal', 'abcd.json'), '{"vers');
  const { left } = await at.journal.recover();
  assert.equal(left.length, 2);
  assert.match(left.join('\n'), /not JSON[^]*damaged/);
  assert.ok((await readdir(at.path)).includes('precious'));
  assert.deepEqual((await at.journal.recover()).left, []);
});
