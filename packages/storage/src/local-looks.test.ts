import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listFolder } from './local-list.ts';
import { LocalLooks } from './local-looks.ts';

/** Each look takes what `looks` says next, milliseconds, or else none. */
function clockOf(looks: number[]): () => number {
  let now = 0;
  let calls = 0; // the first when it is made, then two for each look
  return () => {
    if (calls > 0 && calls % 2 === 0) now += looks.shift() ?? 0;
    calls += 1;
    return now;
  };
}

async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-looks-'));
  try {
    await task(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Whether so many looks, one after the other, were there at once. */
async function areDirect(looks: LocalLooks, folder: string, count: number): Promise<boolean[]> {
  const direct: boolean[] = [];
  for (let look = 0; look < count; look += 1) {
    const found = looks.names(folder);
    direct.push(!(found instanceof Promise));
    assert.deepEqual(await found, []);
  }
  return direct;
}

test('folders that are near are looked at there and then, until too many were slow', () =>
  withFolder(async (folder) => {
    const slow = new LocalLooks(true, clockOf(Array.from({ length: 50 }, () => 12)));
    const expected = Array.from({ length: 12 }, (_, look) => look < 8);
    assert.deepEqual(await areDirect(slow, folder, 12), expected);
    const seldom = new LocalLooks(
      true,
      clockOf(Array.from({ length: 2000 }, (_, look) => (look % 40 ? 0 : 12))),
    );
    assert.ok((await areDirect(seldom, folder, 2000)).every(Boolean));
    assert.deepEqual(await areDirect(new LocalLooks(false), folder, 2), [false, false]);
  }));

test('after a while it is tried again whether looks are quick', () =>
  withFolder(async (folder) => {
    let now = 0;
    let took = 12;
    const looks = new LocalLooks(true, () => (now += took));
    await areDirect(looks, folder, 8);
    took = 0;
    assert.deepEqual(await areDirect(looks, folder, 2), [false, false]);
    now += 6000;
    assert.deepEqual(await areDirect(looks, folder, 2), [true, true]);
  }));

test('small files that are near are read at once, whole', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'file');
    await writeFile(path, 'four');
    assert.equal(new LocalLooks(false).smallFile(path, 4), undefined);
    const looks = new LocalLooks(true);
    assert.equal(Buffer.from(looks.smallFile(path, 4)?.bytes ?? []).toString(), 'four');
    assert.equal(looks.smallFile(path, 3), undefined);
    assert.equal(looks.smallFile(folder, 1 << 20), undefined);
    assert.throws(() => looks.smallFile(join(folder, 'none'), 4), { code: 'ENOENT' });
  }));

test('others have a turn when it is time', async () => {
  let now = 0;
  const looks = new LocalLooks(true, () => now);
  assert.equal(looks.turn(), undefined);
  now = 30;
  assert.ok(looks.turn() instanceof Promise);
  await looks.turn();
  assert.equal(looks.turn(), undefined);
});

test('what is not there is undefined, and what cannot be looked at raises, near or far', () =>
  withFolder(async (folder) => {
    await writeFile(join(folder, 'file'), 'x');
    for (const isNear of [true, false]) {
      const looks = new LocalLooks(isNear);
      assert.equal(await looks.names(join(folder, 'none')), undefined);
      assert.equal(await looks.names(join(folder, 'file')), undefined);
      assert.equal(await looks.status(join(folder, 'file/below')), undefined);
      assert.equal((await looks.status(join(folder, 'file')))?.size, 1);
      await assert.rejects(async () => looks.names(join(folder, 'x'.repeat(300))), { code: 'ENAMETOOLONG' });
    }
  }));

test('a listing is the same, near or far', () =>
  withFolder(async (folder) => {
    for (const name of ['b/two', 'a/one', 'a-b', 'b/one', 'a/deep/er']) {
      await mkdir(join(folder, name, '..'), { recursive: true });
      await writeFile(join(folder, name), name);
    }
    for (const namesOnly of [true, false]) {
      const [near = [], far = []] = await Promise.all(
        [true, false].map((isNear) => Array.fromAsync(listFolder(folder, '', { namesOnly, isNear }))),
      );
      assert.deepEqual(near, far);
      assert.deepEqual(
        near.map(({ key, size }) => `${key} ${size}`),
        ['a-b', 'a/deep/er', 'a/one', 'b/one', 'b/two'].map((key) => `${key} ${namesOnly ? 0 : key.length}`),
      );
    }
  }));
