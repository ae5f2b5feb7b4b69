import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MiB } from '@prima/base';
import type { Extent } from '@prima/block';
import { diskMap } from './point-map.ts';

const device = (size: number, extents: Extent[]) => ({
  size,
  async *extents() {
    yield* extents;
  },
});

test('cells have the bytes of data that lie in them', async () => {
  const found = await diskMap(
    device(512 * MiB, [
      { offset: 0, length: 3 * MiB, kind: 'data' },
      { offset: 3 * MiB, length: 508 * MiB, kind: 'hole' },
      { offset: 511 * MiB, length: MiB, kind: 'data' },
    ]),
  );
  assert.deepEqual([found.cellBytes, found.dataBytes, found.cells.length], [2 * MiB, 4 * MiB, 256]);
  assert.deepEqual(
    [found.cells[0], found.cells[1], found.cells[2], found.cells[255]],
    [2 * MiB, MiB, 0, MiB],
  );
});

test('a small disk has as many cells as sectors; none is larger than it', async () => {
  const found = await diskMap(device(1536, [{ offset: 0, length: 1536, kind: 'data' }]));
  assert.deepEqual(found, { cellBytes: 512, dataBytes: 1536, cells: [512, 512, 512] });
  assert.deepEqual((await diskMap(device(0, []))).cells, []);
});

test('the cells of a disk of an odd size hold all of it', async () => {
  const size = 1_000_000 * 512;
  const found = await diskMap(device(size, [{ offset: 0, length: size, kind: 'data' }]));
  assert.equal(
    found.cells.reduce((sum, cell) => sum + cell, 0),
    size,
  );
  assert.ok(found.cells.length <= 256);
});
