import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import { randomFile, sha256File, temporaryFolder } from './test-files.ts';

test('the same seed makes the same file, another seed another; holes stay holes', async (t) => {
  const folder = await temporaryFolder(t);
  const path = (name: string) => join(folder, name);
  const options = { size: 4 * MiB + 5, dataFraction: 0.5, seed: 1 };
  const data = await randomFile(path('a'), options);
  assert.equal(await randomFile(path('b'), options), data);
  assert.ok(data > MiB && data < 3 * MiB, `about half is data: ${data}`);
  await randomFile(path('c'), { ...options, seed: 2 });
  assert.equal(await sha256File(path('a')), await sha256File(path('b')));
  assert.notEqual(await sha256File(path('a')), await sha256File(path('c')));
  const { size, blocks } = await stat(path('a'));
  assert.equal(size, 4 * MiB + 5);
  assert.ok(blocks * 512 < size, 'sparse');
});
