import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { StorageError } from '@prima/base';
import { openStore, testStorage } from './mod.ts';
import { filterStore } from './filter-store.ts';
import { childUrl, removeScratch } from './scratch-store.ts';

async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-storage-'));
  try {
    await task(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('a folder keeps its promises, is measured, and is as it was before', () =>
  withFolder(async (folder) => {
    await writeFile(join(folder, 'config'), 'of a repository');
    const phases: string[] = [];
    const report = await testStorage(folder, { onProgress: ({ phase }) => phases.push(phase) });
    const broken = report.promises.filter(({ verdict }) => verdict === 'broken');
    assert.deepEqual([report.ok, broken, report.left], [true, [], []]);
    const verdicts = Object.fromEntries(report.promises.map(({ promise, verdict }) => [promise, verdict]));
    assert.equal(verdicts['create once'], 'kept');
    assert.equal(verdicts['retention'], 'absent');
    assert.equal(verdicts['durability'], 'untested');
    assert.ok((report.figures?.putBytesPerSecond ?? 0) > 0);
    assert.deepEqual([phases[0], phases.at(-1)], ['whole objects', 'measuring']);
    assert.deepEqual(await readdir(folder), ['config']);
    assert.equal(await readFile(join(folder, 'config'), 'utf8'), 'of a repository');
  }));

test('a store that overwrites is found out, named, and not measured', () =>
  withFolder(async (folder) => {
    const open: typeof openStore = async (url, options) => {
      const store = await openStore(url, options);
      return filterStore(store, {
        putIfAbsent: async (key, body) => {
          const path = join(store.url, key);
          await mkdir(dirname(path), { recursive: true });
          await writeFile(path, body instanceof Uint8Array ? body : Buffer.concat(body));
          return 'created';
        },
      });
    };
    const report = await testStorage(folder, { open });
    assert.equal(report.ok, false);
    assert.equal(report.figures, undefined);
    const broken = report.promises.filter(({ verdict }) => verdict === 'broken');
    assert.ok(broken.some(({ promise }) => promise === 'create once'));
    assert.match(broken[0]?.advice ?? '', /no repository/);
    assert.deepEqual(await readdir(folder), []);
  }));

test('a cancelled test removes its folder, one of a folder that is not there makes none', () =>
  withFolder(async (folder) => {
    const stop = new AbortController();
    const onProgress = ({ done }: { done: number }) => done === 2 && stop.abort();
    await assert.rejects(testStorage(folder, { signal: stop.signal, onProgress }), { code: 'cancelled' });
    await assert.rejects(testStorage(join(folder, 'none')), { code: 'not-found' });
    const open: typeof openStore = async (url, options) => {
      if (url.includes('prima-test-')) throw new StorageError('permission', 'not for us');
      return openStore(url, options);
    };
    await assert.rejects(testStorage(folder, { open }), { code: 'permission' });
    assert.deepEqual(await readdir(folder), []);
  }));

test('a child of an address goes before its parameters; nothing but a folder of a test is removed', async () => {
  assert.equal(childUrl('sftp://u@h/a/?identity=/k', 'b'), 'sftp://u@h/a/b?identity=/k');
  assert.equal(childUrl('s3://bucket', 'b'), 's3://bucket/b');
  assert.equal(childUrl('/srv/what?', 'b'), '/srv/what?/b');
  assert.equal(childUrl('file:///srv', 'b'), 'file:///srv/b');
  await assert.rejects(removeScratch('/srv/repository', {}), { code: 'internal' });
});
