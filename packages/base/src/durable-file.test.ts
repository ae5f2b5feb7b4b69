import assert from 'node:assert/strict';
import type { PathLike } from 'node:fs';
import { link, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createFile, linkUnlessThere } from './durable-file.ts';

async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-file-'));
  try {
    await task(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const taken = (): Error => Object.assign(new Error('EEXIST: file already exists, link'), { code: 'EEXIST' });

test('a file is made once and nothing else stays', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'a');
    assert.equal(await createFile(path, Buffer.from('one')), true);
    assert.equal(await createFile(path, Buffer.from('two')), false);
    assert.equal(await readFile(path, 'utf8'), 'one');
    assert.deepEqual(await readdir(folder), ['a']);
  }));

test('a link whose answer was lost, and which is then said to be there, is ours; that of another is not', () =>
  withFolder(async (folder) => {
    const [own, other, target] = ['own', 'other', 'target'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(own, 'the same');
    await writeFile(other, 'the same');
    const losingAnswers = async (from: PathLike, to: PathLike) => {
      await link(from, to);
      throw taken();
    };
    assert.equal(await linkUnlessThere(own, target, losingAnswers), true);
    assert.equal(await linkUnlessThere(other, target), false);
    const removedMeanwhile = async () => {
      throw taken();
    };
    assert.equal(await linkUnlessThere(other, join(folder, 'gone'), removedMeanwhile), false);
    await assert.rejects(linkUnlessThere(join(folder, 'none'), join(folder, 'x')), { code: 'ENOENT' });
  }));
