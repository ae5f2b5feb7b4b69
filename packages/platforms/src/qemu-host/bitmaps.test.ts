import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GiB, MiB } from '@prima/base';
import {
  bitmapPrefix,
  judgeParent,
  newBitmapName,
  type ParentQuestion,
  type QemuCheckpoint,
  strayBitmaps,
} from './bitmaps.ts';
import { scratchLimit } from './live-plan.ts';
import type { DirtyBitmap } from './qemu-blocks.ts';

const name = newBitmapName('repository');
const disk = { name: 'disk0', slot: 'scsi0:0', path: '/m/a.qcow2', format: 'qcow2', size: 1024 };
const bitmap: DirtyBitmap = {
  name,
  count: 0,
  granularity: 65536,
  recording: true,
  busy: false,
  persistent: true,
};

function question(change: Partial<ParentQuestion> = {}, before: object = {}): ParentQuestion {
  const { slot, path, format, size } = disk;
  const checkpoint: QemuCheckpoint = {
    platform: 'qemu',
    version: 1,
    disks: [{ slot, path, format, size, bitmap: name, ...before }],
  };
  const rest = { full: false, internalSnapshots: false, persistent: true };
  return { disk, checkpoint, bitmaps: [bitmap], ...rest, ...change };
}

test('a bitmap that has seen everything is believed', () => {
  assert.deepEqual(judgeParent(question()), { bitmap: name });
});

const doubts: [string, ParentQuestion, RegExp][] = [
  ['a full reading was asked for', question({ full: true }), /asked for/],
  ['there is no point', question({ checkpoint: undefined }), /no earlier point/],
  [
    'the point is of another platform',
    question({ checkpoint: { platform: 'x', version: 1 } }),
    /another kind/,
  ],
  ['the disk is new', question({ disk: { ...disk, slot: 'scsi0:1' } }), /added since/],
  ['nothing was tracked', question({}, { bitmap: undefined }), /no changes were tracked/],
  ['another disk was there', question({}, { path: '/m/b.qcow2' }), /another disk/],
  ['it was resized', question({}, { size: 512 }), /resized, from 512 to 1024/],
  ['the format changed', question({}, { format: 'raw' }), /was raw before/],
  ['it has internal snapshots', question({ internalSnapshots: true }), /internal snapshots/],
  ['the bitmap is gone', question({ bitmaps: [] }), /gone: the machine crashed/],
  ['it was only in memory', question({ bitmaps: [], persistent: false }), /stopped or restarted/],
  ['it is inconsistent', question({ bitmaps: [{ ...bitmap, inconsistent: true }] }), /inconsistent/],
  ['it is in use', question({ bitmaps: [{ ...bitmap, busy: true }] }), /in use/],
  ['it was not recording', question({ bitmaps: [{ ...bitmap, recording: false }] }), /not recording/],
];

for (const [what, asked, why] of doubts) {
  test(`everything is read when ${what}`, () => {
    const answer = judgeParent(asked);
    assert.ok('whyFull' in answer);
    assert.match(answer.whyFull, why);
  });
}

test('strays are what this repository left, and what a crash spoiled; other tools are left alone', () => {
  const left = { ...bitmap, name: `${bitmapPrefix('repository')}0000` };
  const other = { ...bitmap, name: `${bitmapPrefix('another')}0000` };
  const spoiled = { ...bitmap, name: `${bitmapPrefix('another')}1111`, inconsistent: true };
  const foreign = { ...bitmap, name: 'backup-vda', inconsistent: true };
  const all = [bitmap, left, other, spoiled, foreign, { ...left, name: undefined }];
  assert.deepEqual(strayBitmaps(all, 'repository', name), [left.name, spoiled.name]);
  assert.deepEqual(strayBitmaps([{ ...left, busy: true }], 'repository'), []);
});

test('the scratch limit: what was told, or a share of the disk and of the free room', () => {
  assert.equal(scratchLimit(100 * GiB, 1000 * GiB), 25 * GiB);
  assert.equal(scratchLimit(2 * GiB, 1000 * GiB), GiB);
  assert.equal(scratchLimit(64 * MiB, 1000 * GiB), 80 * MiB);
  assert.equal(scratchLimit(100 * GiB, 4 * GiB), 3 * GiB);
  assert.equal(scratchLimit(100 * GiB, 1000 * GiB, 2 * MiB), 2 * MiB);
  assert.throws(() => scratchLimit(100 * GiB, MiB), { code: 'no-space' });
});
