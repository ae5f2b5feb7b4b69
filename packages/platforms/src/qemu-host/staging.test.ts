import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { discardFolder, makeStaging, publish, removeDeadStaging } from './staging.ts';

async function folder(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'prima-test-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
}

test('what is staged appears at once, and never over something else', async (t) => {
  const root = await folder(t);
  const first = await makeStaging(root, 'web');
  const second = await makeStaging(root, 'web');
  await writeFile(join(first, 'web.vmx'), 'one');
  assert.equal(await publish(root, first, 'web'), join(root, 'web'));
  assert.deepEqual(await readdir(join(root, 'web')), ['web.vmx']);
  await assert.rejects(publish(root, second, 'web'), { code: 'exists' });
  await discardFolder(root, second);
  assert.deepEqual(await readdir(root), ['web']);
});

test('only what the dead left is removed', async (t) => {
  const root = await folder(t);
  const mine = await makeStaging(root, 'mine');
  const [, tag = ''] = /mine-(.+)-[0-9a-f]{8}$/.exec(mine) ?? [];
  const dead = join(root, `.prima-staged-web-1-${tag}1-0123abcd`);
  const elsewhere = join(root, `.prima-staged-web-${tag.replace(/^.{8}/, '00000000')}-0123abcd`);
  const nobodys = join(root, '.prima-staged-nobodys-00');
  const gone = join(root, '.prima-gone-x-00');
  for (const path of [dead, elsewhere, nobodys, gone, join(root, 'web')]) await mkdir(path);
  const removed = await removeDeadStaging(root);
  assert.deepEqual(removed.sort(), [dead, gone].sort());
  assert.deepEqual(
    (await readdir(root)).map((name) => join(root, name)).sort(),
    [mine, elsewhere, nobodys, join(root, 'web')].sort(),
  );
});
