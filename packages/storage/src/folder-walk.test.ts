import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FolderEntry, type FolderReader, walkFolders } from './folder-walk.ts';

/** A tree of `folders` folders with two objects each; what is read is counted, and answered out of order. */
function tree(folders: number) {
  const counts = { read: 0, open: 0, most: 0 };
  const read: FolderReader = async (folder, wanted) => {
    counts.read += 1;
    counts.open += 1;
    counts.most = Math.max(counts.most, counts.open);
    for (let turn = 0; turn < 1 + ((counts.read * 7) % 5); turn += 1) await new Promise(setImmediate);
    counts.open -= 1;
    const name = (index: number) => `s/${String(index).padStart(4, '0')}/`;
    if (folder === '') return [{ folder: 's/' }];
    if (folder === 's/')
      return Array.from({ length: folders }, (_, i) => ({ folder: name(i) })).filter((entry) =>
        wanted(entry.folder),
      );
    return ['outcome', 'marker'].map((file) => ({ key: folder + file, size: 1, modified: 2 }));
  };
  return { read, counts };
}

const keysOf = async (walk: AsyncIterable<{ key: string }>) =>
  (await Array.fromAsync(walk)).map(({ key }) => key);

test('folders are read ahead, a bounded number at once, and given in order', async () => {
  const { read, counts } = tree(500);
  const keys = await keysOf(walkFolders(read, ''));
  assert.equal(keys.length, 1000);
  assert.deepEqual(keys, [...keys].sort());
  assert.ok(counts.most > 8 && counts.most <= 16, `${counts.most} folders were read at once`);
});

test('only folders that may hold what is asked for are read', async () => {
  const { read, counts } = tree(500);
  assert.deepEqual(
    await keysOf(walkFolders(read, 's/012')),
    Array.from({ length: 10 }, (_, i) => [`s/012${i}/marker`, `s/012${i}/outcome`]).flat(),
  );
  assert.equal(counts.read, 11);
});

test('who stops early leaves nothing under way, and what fails ahead is raised in its turn', async () => {
  const { read, counts } = tree(100);
  for await (const { key } of walkFolders(read, '')) if (key.startsWith('s/0005')) break;
  assert.equal(counts.open, 0);
  assert.ok(counts.read < 40);

  const failing = async (folder: string): Promise<FolderEntry[]> => {
    if (folder === 's/0003/') throw new Error('broken');
    return read(folder, () => true);
  };
  const seen: string[] = [];
  const walk = async () => {
    for await (const { key } of walkFolders(failing, '')) seen.push(key);
  };
  await assert.rejects(walk(), /broken/);
  assert.equal(seen.at(-1), 's/0002/outcome');
  assert.equal(counts.open, 0);
});
