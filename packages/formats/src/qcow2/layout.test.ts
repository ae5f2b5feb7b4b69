import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clusterBytes, planLayout } from './layout.ts';

const at = (offset: number, length: number) => ({
  offset: offset * clusterBytes,
  length: length * clusterBytes,
});

test('an empty disk has its tables and nothing else', () => {
  assert.deepEqual(planLayout(clusterBytes, []), {
    size: clusterBytes,
    runs: [],
    refcountTable: { offset: 1, length: 1 },
    refcountBlocks: { offset: 2, length: 1 },
    l1: { offset: 3, length: 1 },
    l1Entries: 1,
    tables: [],
    l2: { offset: 4, length: 0 },
    clusters: 4,
  });
});

test('data takes whole clusters, once, in the order of the disk', () => {
  const data = [
    { offset: 100, length: 10 },
    { offset: 200, length: clusterBytes },
    at(3, 2),
    { offset: 5 * clusterBytes, length: 0 },
    at(8192, 1),
  ];
  const { runs, tables, clusters } = planLayout(8193 * clusterBytes, data);
  assert.deepEqual(runs, [
    { guest: 0, host: 6, count: 2 },
    { guest: 3, host: 8, count: 2 },
    { guest: 8192, host: 10, count: 1 },
  ]);
  assert.deepEqual(tables, [0, 1]);
  assert.equal(clusters, 11);
});

test('reference counts cover themselves', () => {
  for (const count of [32_760, 32_761, 32_762, 32_763, 32_764, 70_000]) {
    const { refcountBlocks, clusters, refcountTable } = planLayout(2 ** 40, [at(0, count)]);
    assert.ok(refcountBlocks.length * 32_768 >= clusters, `${count}`);
    assert.ok((refcountBlocks.length - 1) * 32_768 < clusters, `${count}`);
    assert.equal(refcountTable.length, 1);
  }
});
