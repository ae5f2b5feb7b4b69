import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '@prima/testbed';
import { seenHeads } from './seen-heads.ts';

const head = { keySet: 2, seq: 7, digest: 'ab'.repeat(32), signer: 'cd'.repeat(32) };

test('what was seen is kept for each repository, for its owner only', async (t) => {
  const folder = join(await temporaryFolder(t), 'repositories');
  const trust = seenHeads(folder);
  assert.equal(await trust.load('0a'), undefined);
  await trust.save('0a', head);
  await trust.save('0a', { ...head, seq: 8 });
  assert.deepEqual(await seenHeads(folder).load('0a'), { ...head, seq: 8 });
  assert.equal(await trust.load('0b'), undefined);
  assert.equal((await stat(join(folder, '0a', 'head.json'))).mode & 0o777, 0o600);
});

test('a damaged file is an error that says what to do', async (t) => {
  const folder = await temporaryFolder(t);
  const trust = seenHeads(folder);
  await trust.save('0a', head);
  const path = join(folder, '0a', 'head.json');
  for (const text of [
    '',
    '{',
    'null',
    '[]',
    '{"version":1}',
    JSON.stringify({ version: 1, ...head, seq: -1 }),
  ]) {
    await writeFile(path, text);
    await assert.rejects(trust.load('0a'), { code: 'format', message: /remove the file/ }, text);
  }
  await writeFile(path, JSON.stringify({ version: 2, ...head }));
  await assert.rejects(trust.load('0a'), { code: 'newer-version' });
});
