/** Trees of more than one level, which need thousands of fragments on a real file system. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type WritableDevice, memoryDevice } from '@prima/block';
import { MetadataReader } from '../metadata-reader.ts';
import { type FreeRun, freeRuns, type FreeSpaceHeader } from './allocation-group.ts';
import type { XfsSuperblock } from './superblock.ts';

const blockSize = 512;
const none = 0xffff_ffff;
const superblock: XfsSuperblock = {
  version: 4,
  blockSize,
  blocks: 4096,
  freeBlocks: 0,
  groupBlocks: 4096,
  groupBlocksLog: 12,
  groups: 1,
  sectorSize: 512,
  uuid: Buffer.alloc(16),
  logStart: 1,
  logBlocks: 1,
};
const header: FreeSpaceHeader = {
  blocks: 4096,
  roots: { byBlock: 1, bySize: 1 },
  levels: { byBlock: 2, bySize: 2 },
  free: 0,
  inFreeList: 0,
  longest: 0,
  inTrees: 0,
};

function treeBlock(
  level: number,
  siblings: [number, number],
  records: readonly FreeRun[],
  children: number[] = [],
) {
  const bytes = Buffer.alloc(blockSize);
  bytes.write('ABTB');
  bytes.writeUInt16BE(level, 4);
  bytes.writeUInt16BE(records.length, 6);
  bytes.writeUInt32BE(siblings[0], 8);
  bytes.writeUInt32BE(siblings[1], 12);
  for (const [i, { first, blocks }] of records.entries()) {
    bytes.writeUInt32BE(first, 16 + i * 8);
    bytes.writeUInt32BE(blocks, 20 + i * 8);
  }
  for (const [i, child] of children.entries()) bytes.writeUInt32BE(child, 16 + 41 * 8 + i * 4);
  return bytes;
}

/** Three leaves of two runs each, in blocks 2 to 4, under the root in block 1. */
async function tree(): Promise<{ device: WritableDevice; runs: FreeRun[] }> {
  const runs = [100, 200, 300, 400, 500, 600].map((first) => ({ first, blocks: 10 }));
  const device = memoryDevice(4096 * blockSize);
  const keys = runs.filter((_, i) => i % 2 === 0);
  await device.write(blockSize, treeBlock(1, [none, none], keys, [2, 3, 4]));
  const siblings: [number, number][] = [
    [none, 3],
    [2, 4],
    [3, none],
  ];
  for (const [i, pair] of siblings.entries()) {
    await device.write((2 + i) * blockSize, treeBlock(0, pair, runs.slice(i * 2, i * 2 + 2)));
  }
  return { device, runs };
}

async function walk(device: WritableDevice): Promise<FreeRun[]> {
  const reader = new MetadataReader(device, { offset: 0, length: device.size });
  const found: FreeRun[] = [];
  for await (const run of freeRuns(reader, superblock, { group: 0, tree: 'byBlock', header }))
    found.push(run);
  return found;
}

test('all leaves of a tree of two levels, in their order', async () => {
  const { device, runs } = await tree();
  assert.deepEqual(await walk(device), runs);
});

const damages: [string, number, number, RegExp][] = [
  ['a sibling that is another', 3 * blockSize + 12, 2, /contradicts itself/],
  ['a left sibling that is another', 3 * blockSize + 8, 4, /contradicts itself/],
  ['a leaf whose first run is not its key', 4 * blockSize + 16, 501, /contradicts itself/],
  ['a leaf that calls itself a node', 3 * blockSize + 4, 0x0001_0002, /contradicts itself/],
  ['a child that is the root', blockSize + 16 + 41 * 8 + 4, 1, /contradicts itself/],
  ['a child outside the group', blockSize + 16 + 41 * 8 + 4, 5000, /leaves it/],
  ['a last leaf that goes on', 4 * blockSize + 12, 2, /does not end/],
  ['more entries than fit', 2 * blockSize + 4, 99, /has 99 entries/],
];
for (const [title, offset, value, wanted] of damages) {
  test(`${title} is refused`, async () => {
    const { device } = await tree();
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    await device.write(offset, bytes);
    await assert.rejects(walk(device), wanted);
  });
}
