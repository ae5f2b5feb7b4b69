import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectExtents, type Extent, mergeExtents, toExtents } from './mod.ts';

test('touching extents of one kind are merged and empty ones dropped', async () => {
  const extents: Extent[] = [
    { offset: 0, length: 0, kind: 'zero' },
    { offset: 0, length: 5, kind: 'data' },
    { offset: 5, length: 0, kind: 'hole' },
    { offset: 5, length: 5, kind: 'data' },
    { offset: 10, length: 1, kind: 'zero' },
    { offset: 11, length: 1, kind: 'hole' },
    { offset: 20, length: 1, kind: 'hole' },
  ];
  assert.deepEqual(await collectExtents(mergeExtents(extents)), [
    { offset: 0, length: 10, kind: 'data' },
    { offset: 10, length: 1, kind: 'zero' },
    { offset: 11, length: 1, kind: 'hole' },
    { offset: 20, length: 1, kind: 'hole' },
  ]);
});

test('ranges become extents that cover the whole', () => {
  const ranges = [
    { offset: 30, length: 100 },
    { offset: 10, length: 5 },
    { offset: 12, length: 8 },
  ];
  const whole = { offset: 5, length: 45 };
  assert.deepEqual(toExtents(ranges, whole, { inside: 'data', outside: 'hole' }), [
    { offset: 5, length: 5, kind: 'hole' },
    { offset: 10, length: 10, kind: 'data' },
    { offset: 20, length: 10, kind: 'hole' },
    { offset: 30, length: 20, kind: 'data' },
  ]);
  assert.deepEqual(toExtents(ranges, whole, { inside: 'data', outside: 'data' }), [
    { ...whole, kind: 'data' },
  ]);
  assert.deepEqual(toExtents([], { offset: 3, length: 0 }, { inside: 'data', outside: 'hole' }), []);
});
