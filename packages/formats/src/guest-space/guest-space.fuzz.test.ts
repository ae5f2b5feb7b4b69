/** Noise and nearly right bytes: every parser refuses them with an error of its own, or gives values within bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answerOf, fuzzRun, mutate } from '@prima/testbed';
import { type GroupDescriptor, parseGroupDescriptor } from './ext/groups.ts';
import { type ExtSuperblock, parseExtSuperblock } from './ext/superblock.ts';
import { parseNtfsBootSector } from './ntfs/boot-sector.ts';
import { findInIndex } from './ntfs/hibernation.ts';
import { parseRestartPage } from './ntfs/log-file.ts';
import { parseFileRecord, parseRuns } from './ntfs/record.ts';
import { parseFreeSpaceHeader, parseTreeBlock } from './xfs/allocation-group.ts';
import { isUnmountRecord } from './xfs/log.ts';
import { parseXfsSuperblock, type XfsSuperblock } from './xfs/superblock.ts';

type Fields = [offset: number, bytes: number, value: number][];

/** `length` bytes with numbers in them, as many bytes each as said. */
function block(length: number, magic: [number, string], fields: Fields, bigEndian = false): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.write(magic[1], magic[0], 'latin1');
  for (const [offset, size, value] of fields) {
    if (bigEndian) bytes.writeUIntBE(value, offset, size);
    else bytes.writeUIntLE(value, offset, size);
  }
  return bytes;
}

const ext = block(
  1024,
  [56, '\x53\xef'],
  [
    [0, 4, 2000],
    [4, 4, 8192],
    [12, 4, 7000],
    [20, 4, 1],
    [32, 4, 8192],
  ],
);
for (const [offset, value] of [
  [36, 8192],
  [40, 2000],
  [58, 1],
  [76, 1],
  [88, 256],
] as const) {
  ext.writeUInt16LE(value, offset);
}
const extShape = parseExtSuperblock(ext);
const descriptor = block(
  32,
  [0, ''],
  [
    [0, 4, 3],
    [4, 4, 4],
    [8, 4, 5],
    [12, 2, 7000],
  ],
);
const oldXfs: XfsSuperblock = {
  version: 4,
  blockSize: 4096,
  blocks: 40_000,
  freeBlocks: 1000,
  groupBlocks: 10_000,
  groupBlocksLog: 14,
  groups: 4,
  sectorSize: 512,
  uuid: Buffer.alloc(16),
  logStart: 32_771,
  logBlocks: 1000,
};
const xfs = block(
  512,
  [0, 'XFSB'],
  [
    [4, 4, 4096],
    [14, 2, 40_000],
    [54, 2, 32_771],
    [84, 4, 10_000],
    [88, 4, 4],
    [96, 4, 1000],
    [100, 2, 0xb4a4],
    [102, 2, 512],
  ],
  true,
);
for (const [offset, value] of [
  [124, 14],
  [203, 2],
] as const)
  xfs.writeUInt8(value, offset);
const header = block(
  512,
  [0, 'XAGF'],
  [
    [4, 4, 1],
    [12, 4, 10_000],
    [16, 4, 1],
    [20, 4, 2],
    [28, 4, 1],
    [32, 4, 1],
    [52, 4, 500],
  ],
  true,
);
const tree = block(
  4096,
  [0, 'ABTB'],
  [
    [6, 2, 2],
    [8, 4, 0xffff_ffff],
    [16, 4, 9],
    [20, 4, 5],
    [24, 4, 90],
    [28, 4, 5],
  ],
  true,
);
const unmount = block(
  1024,
  [520, '\xaa\x20'],
  [
    [8, 4, 1],
    [12, 4, 512],
    [40, 4, 1],
    [320, 4, 32_768],
  ],
  true,
);
const boot = block(
  512,
  [3, 'NTFS    '],
  [
    [11, 2, 512],
    [13, 1, 8],
    [40, 4, 80_000],
    [48, 4, 4],
    [56, 4, 100],
    [64, 1, 0xf6],
    [68, 1, 0xf4],
    [510, 2, 0xaa55],
  ],
);
const record = block(
  1024,
  [0, 'FILE'],
  [
    [4, 2, 48],
    [6, 2, 3],
    [20, 2, 56],
    [22, 2, 1],
    [24, 4, 136],
    [56, 4, 0x80],
    [60, 4, 72],
    [64, 1, 1],
    [88, 2, 64],
    [104, 4, 4096],
    [112, 4, 4096],
    [120, 3, 0x0511_31 & 0xffffff],
    [128, 4, 0xffff_ffff],
  ],
);
const restart = block(
  4096,
  [0, 'RSTR'],
  [
    [4, 2, 30],
    [6, 2, 9],
    [16, 4, 4096],
    [20, 4, 4096],
    [24, 2, 48],
    [28, 2, 1],
    [60, 2, 0xffff],
  ],
);
const index = block(
  96,
  [0, ''],
  [
    [0, 4, 16],
    [4, 4, 96],
    [24, 2, 80],
    [26, 2, 0],
    [28, 2, 2],
  ],
);

const parsers: [name: string, valid: Buffer, parse: (bytes: Buffer) => unknown][] = [
  ['the superblock of ext', ext, (bytes) => within(parseExtSuperblock(bytes))],
  [
    'a group descriptor of ext',
    descriptor,
    (bytes) => pointsInside(parseGroupDescriptor(bytes, 0, extShape)),
  ],
  ['the superblock of XFS', xfs, (bytes) => assert.ok(parseXfsSuperblock(bytes).groups >= 0)],
  [
    'the header of an allocation group',
    header,
    (bytes) => assert.equal(parseFreeSpaceHeader(bytes, 0, oldXfs).blocks, 10_000),
  ],
  [
    'a block of a free-space tree',
    tree,
    (bytes) =>
      assert.ok(parseTreeBlock(bytes, oldXfs, { group: 0, block: 1, tree: 'byBlock' }).records.length <= 510),
  ],
  ['the end of a log', unmount, (bytes) => assert.equal(typeof isUnmountRecord(bytes), 'boolean')],
  ['the boot sector of NTFS', boot, (bytes) => assert.ok(parseNtfsBootSector(bytes).clusters >= 16)],
  ['a file record', record, (bytes) => assert.ok(parseFileRecord(bytes, 0).length <= 256)],
  [
    'runs',
    Buffer.from('211834561130f0010500', 'hex'),
    (bytes) => assert.ok(parseRuns(bytes, 'x').every(({ length }) => length > 0)),
  ],
  ['a restart page', restart, (bytes) => assert.match(parseRestartPage(bytes).version, /^-?\d+\.-?\d+$/)],
  ['an index', index, (bytes) => assert.ok((findInIndex(bytes, 'hiberfil.sys') ?? 0) >= 0)],
];

function within({ blocks, blockSize, groups, clusterBlocks, blocksPerGroup }: ExtSuperblock): void {
  assert.ok(blocks * blockSize <= 2 ** 52 && groups <= 2 ** 22);
  assert.ok(blocksPerGroup / clusterBlocks <= blockSize * 8);
}

function pointsInside({ blockBitmap, inodeBitmap, inodeTable }: GroupDescriptor): void {
  for (const place of [blockBitmap, inodeBitmap, inodeTable]) assert.ok(place >= 1 && place < 8192);
}

for (const [name, valid, parse] of parsers) {
  test(name, async () => {
    const { seed, rounds, random } = fuzzRun(1500);
    parse(Buffer.from(valid));
    for (let round = 0; round < rounds; round += 1) {
      const changed = mutate(
        random,
        random.below(10) === 0 ? random.bytes(new Uint8Array(valid.length)) : valid,
      );
      const bytes = Buffer.alloc(valid.length); // callers read structures whole
      changed.copy(bytes);
      await answerOf(
        () => parse(bytes),
        `seed ${seed}, round ${round}: ${changed.toString('hex').slice(0, 400)}`,
      );
    }
  });
}
