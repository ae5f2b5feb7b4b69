import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SettledNames } from './settled-names.ts';

test('the folder of what is young is synced before it is given out, once until it changes again', async () => {
  const synced: string[] = [];
  const names = new SettledNames(async (folder) => void synced.push(folder));
  const now = Date.now();
  await names.assure('/store/sessions/a/outcome', now - 600_000);
  assert.deepEqual(synced, [], 'what is old is on the disk');
  await names.assure('/store/sessions/a/outcome', now - 1000);
  await names.assure('/store/sessions/a/outcome', now - 1000);
  await names.assure('/store/sessions/a/marker', now - 2000);
  assert.deepEqual(synced, ['/store/sessions/a']);
  await names.assure('/store/sessions/a/forgotten', now + 1000);
  await names.assure('/store/sessions/b/outcome', now - 1000);
  assert.deepEqual(synced, ['/store/sessions/a', '/store/sessions/a', '/store/sessions/b']);
});

test('a store that cannot be written is read all the same; a disk that fails is told', async () => {
  const failing = (code: string) =>
    new SettledNames(() => Promise.reject(Object.assign(new Error(code), { code })));
  await failing('EROFS').assure('/store/config', Date.now());
  await assert.rejects(failing('EIO').assure('/store/config', Date.now()), { code: 'EIO' });
});
