import assert from 'node:assert/strict';
import { mkdtemp, open, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { GiB, KiB } from '@prima/base';
import { collectExtents, openRawFile } from './mod.ts';

async function withFolder(task: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'prima-raw-'));
  try {
    await task(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('a raw file finds its holes beyond 2^31 and 2^32', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'disk.raw');
    await using resources = new AsyncDisposableStack();
    const disk = await openRawFile(path, { create: { size: 6 * GiB } });
    resources.defer(() => disk.close());
    assert.equal(disk.extentsUnknown, undefined);
    const bytes = new Uint8Array(new SharedArrayBuffer(64 * KiB)).fill(7);
    await disk.write(3 * GiB, bytes);
    await disk.write(5 * GiB, bytes);
    assert.deepEqual(await collectExtents(disk.extents({ offset: 0, length: disk.size })), [
      { offset: 0, length: 3 * GiB, kind: 'hole' },
      { offset: 3 * GiB, length: 64 * KiB, kind: 'data' },
      { offset: 3 * GiB + 64 * KiB, length: 2 * GiB - 64 * KiB, kind: 'hole' },
      { offset: 5 * GiB, length: 64 * KiB, kind: 'data' },
      { offset: 5 * GiB + 64 * KiB, length: GiB - 64 * KiB, kind: 'hole' },
    ]);
    const back = new Uint8Array(new SharedArrayBuffer(64 * KiB));
    await disk.read(5 * GiB, back);
    assert.deepEqual(back, bytes);
    await disk.zero({ offset: 3 * GiB, length: 3 * GiB });
    await disk.flush();
    assert.deepEqual(await collectExtents(disk.extents({ offset: 1, length: disk.size - 1 })), [
      { offset: 1, length: disk.size - 1, kind: 'hole' },
    ]);
    assert.equal((await stat(path)).blocks, 0, 'zeroing gives the space back');
    assert.equal((await stat(path)).mode & 0o777, 0o600);
  }));

test('a raw file that shrinks while it is read raises source-changed', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'disk.raw');
    await (await openRawFile(path, { create: { size: 64 * KiB } })).close();
    const disk = await openRawFile(path);
    try {
      await truncate(path, 40 * KiB);
      await assert.rejects(disk.read(32 * KiB, new Uint8Array(16 * KiB)), { code: 'source-changed' });
    } finally {
      await disk.close();
    }
  }));

test('a size that is not a multiple of 512 is rounded up for reading and refused for writing', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'odd.raw');
    const file = await open(path, 'w');
    await file.write(new Uint8Array(1000).fill(1));
    await file.close();
    const disk = await openRawFile(path);
    try {
      assert.equal(disk.size, 1024);
      const bytes = new Uint8Array(1024).fill(9);
      await disk.read(0, bytes);
      assert.deepEqual(bytes.subarray(0, 1000), new Uint8Array(1000).fill(1));
      assert.deepEqual(bytes.subarray(1000), new Uint8Array(24));
      assert.deepEqual(await collectExtents(disk.extents({ offset: 0, length: 1024 })), [
        { offset: 0, length: 1024, kind: 'data' },
      ]);
      await disk.read(1000, bytes.subarray(0, 24));
    } finally {
      await disk.close();
    }
    await assert.rejects(openRawFile(path, { writable: true }), { code: 'unsupported' });
  }));

test('opening a raw file says what is wrong', () =>
  withFolder(async (folder) => {
    await assert.rejects(openRawFile(join(folder, 'none')), { code: 'not-found' });
    await assert.rejects(openRawFile(folder), { code: 'unsupported' });
    const path = join(folder, 'disk.raw');
    const disk = await openRawFile(path, { create: { size: 512 } });
    await disk.close();
    await assert.rejects(openRawFile(path, { create: { size: 512 } }), { code: 'exists' });
    await assert.rejects(disk.read(0, new Uint8Array(1)), { code: 'internal' });
    const again = await openRawFile(path, { create: { size: 1024, exclusive: false } });
    assert.equal(again.size, 1024);
    await again.close();
    await again.close();
  }));

test('any number of extents and zero calls may be under way at once', () =>
  withFolder(async (folder) => {
    const disk = await openRawFile(join(folder, 'disk.raw'), { create: { size: 64 * KiB } });
    try {
      const zeroing = Array.from({ length: 3000 }, () => disk.zero({ offset: 0, length: 512 }));
      const listing = Array.from({ length: 3000 }, () =>
        collectExtents(disk.extents({ offset: 0, length: disk.size })),
      );
      await Promise.all([...zeroing, ...listing]);
    } finally {
      await disk.close();
    }
  }));
