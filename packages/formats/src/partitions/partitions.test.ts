import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KiB, MiB } from '@prima/base';
import { type BlockDevice, memoryDevice, type WritableDevice } from '@prima/block';
import type { Partition, PartitionTable } from './partition-table.ts';
import { readPartitions } from './read-partitions.ts';
import { bootRecord, type Entry, gptDisk, gptEntries, gptHeader } from './tables-fixture.ts';

async function diskWith(records: readonly [sector: number, bytes: Uint8Array][], size = 4 * MiB) {
  const device = memoryDevice(size);
  for (const [sector, bytes] of records) await device.write(sector * 512, bytes);
  return device;
}

const places = ({ partitions }: PartitionTable) =>
  partitions.map(({ index, offset, length }: Partition) => [index, offset / 512, length / 512]);

async function overwrite(device: WritableDevice, offset: number): Promise<void> {
  const byte = new Uint8Array(1);
  await device.read(offset, byte);
  await device.write(offset, Uint8Array.of((byte[0] ?? 0) ^ 0x55));
}

test('an empty disk has no table', async () => {
  const table = await readPartitions(memoryDevice(MiB));
  assert.deepEqual(table, { kind: 'none', sectorSize: 512, partitions: [], notes: [], intact: true });
  assert.equal((await readPartitions(memoryDevice(0))).kind, 'none');
});

test('primary partitions, in the order of the disk', async () => {
  const entries: Entry[] = [
    [0x83, 4096, 2048],
    [0x07, 2048, 2048, true],
  ];
  const table = await readPartitions(await diskWith([[0, bootRecord(entries, 0x1a2b)]]));
  assert.deepEqual(table, {
    kind: 'mbr',
    sectorSize: 512,
    diskId: '00001a2b',
    partitions: [
      { index: 2, offset: MiB, length: MiB, typeId: '0x07', typeName: 'NTFS or exFAT', bootable: true },
      { index: 1, offset: 2 * MiB, length: MiB, typeId: '0x83', typeName: 'Linux', bootable: false },
    ],
    notes: [],
    intact: true,
  });
});

test('logical partitions are counted from 5, through a record without one', async () => {
  const table = await readPartitions(
    await diskWith([
      [0, bootRecord([[0x83, 64, 64], undefined, undefined, [0x05, 128, 4096]])],
      [
        128,
        bootRecord([
          [0x83, 8, 100],
          [0x05, 512, 512],
        ]),
      ],
      [640, bootRecord([undefined, [0x05, 1024, 512]])],
      [1152, bootRecord([[0x8e, 16, 200]])],
    ]),
  );
  assert.deepEqual(places(table), [
    [1, 64, 64],
    [5, 136, 100],
    [6, 1168, 200],
  ]);
  assert.deepEqual([table.notes, table.intact], [[], true]);
});

const chains: [string, RegExp, [number, Uint8Array][]][] = [
  [
    'that comes back',
    /comes back to sector 128/,
    [
      [
        128,
        bootRecord([
          [0x83, 8, 8],
          [0x05, 0, 512],
        ]),
      ],
    ],
  ],
  [
    'that leaves the extended partition',
    /sector 5128 is not in/,
    [
      [
        128,
        bootRecord([
          [0x83, 8, 8],
          [5, 5000, 5],
        ]),
      ],
    ],
  ],
  [
    'with a record that is none',
    /sector 200: .*55 AA/,
    [
      [
        128,
        bootRecord([
          [0x83, 8, 8],
          [0x05, 72, 512],
        ]),
      ],
    ],
  ],
  ['with a partition that stands out', /partition 5 stands out/, [[128, bootRecord([[0x83, 8, 9000]])]]],
];
for (const [title, wanted, records] of chains) {
  test(`a chain ${title} is a note`, async () => {
    const table = await readPartitions(
      await diskWith([[0, bootRecord([[0x0f, 128, 4096]])], ...records], 8 * MiB),
    );
    assert.equal(table.partitions.length, 1);
    assert.match(table.notes.join(), wanted);
    assert.equal(table.intact, false);
  });
}

test('a chain that is too long ends', async () => {
  const links = Array.from({ length: 300 }, (_, i): [number, Uint8Array] => [
    128 + i * 2,
    bootRecord([
      [0x83, 1, 1],
      [0x05, (i + 1) * 2, 2],
    ]),
  ]);
  const table = await readPartitions(await diskWith([[0, bootRecord([[0x05, 128, 4096]])], ...links]));
  assert.equal(table.partitions.length, 256);
  assert.match(table.notes.join(), /more than 256 records/);
});

test('overlapping partitions and those beyond the end are said', async () => {
  const entries: Entry[] = [
    [0x83, 64, 1000],
    [0x83, 100, 64],
    [0x83, 1000, 64],
    [0x83, 8000, 1000],
  ];
  const table = await readPartitions(await diskWith([[0, bootRecord(entries)]]));
  assert.match(table.notes.join('\n'), /1 and 2 overlap\n.*1 and 3 overlap\n.*partition 4 ends at 4608000/);
  assert.equal(table.intact, false);
});

for (const sectorSize of [512, 4096]) {
  test(`a GPT with sectors of ${sectorSize} bytes`, async () => {
    const table = await readPartitions(await gptDisk(sectorSize));
    const [first, second] = table.partitions;
    assert.deepEqual(first, {
      index: 1,
      offset: MiB,
      length: MiB,
      typeId: '0fc63daf-8483-4772-8e79-3d69d8477de4',
      typeName: 'Linux',
      name: 'första',
      uuid: '00000001-0000-0000-0000-000000000000',
      bootable: true,
    });
    assert.deepEqual([second?.offset, second?.length, second?.name], [2 * MiB, MiB, undefined]);
    assert.deepEqual(
      [table.kind, table.sectorSize, table.notes, table.intact],
      ['gpt', sectorSize, [], true],
    );
  });

  test(`a damaged GPT with sectors of ${sectorSize} bytes`, async () => {
    const damages: [number[], RegExp, number][] = [
      [[sectorSize + 40], /primary GPT is damaged \(.*checksum.*the backup/, 2],
      [[2 * sectorSize + 32], /primary GPT is damaged \(.*entries.*the backup/, 2],
      [[4 * MiB - sectorSize], /backup GPT is damaged: it is not there/, 2],
      [[4 * MiB - sectorSize, sectorSize], /both copies of the GPT are damaged/, 0],
    ];
    for (const [offsets, wanted, count] of damages) {
      const device = await gptDisk(sectorSize);
      for (const offset of offsets) await overwrite(device, offset);
      const table = await readPartitions(device);
      assert.match(table.notes.join(), wanted);
      assert.deepEqual([table.kind, table.partitions.length, table.intact], ['gpt', count, false]);
    }
  });
}

test('a hybrid boot record says which partitions it doubles', async () => {
  const device = await gptDisk();
  const twin: Entry = [0x83, 2048, 2048];
  await device.write(0, bootRecord([[0xee, 1, 2047], twin]));
  const whole = await readPartitions(device);
  assert.deepEqual(whole.notes, ['hybrid: entry 2 of the boot record is partition 1']);
  assert.equal(whole.intact, true);
  await device.write(
    0,
    bootRecord([
      [0xee, 1, 2047],
      [0x83, 2048, 4096],
    ]),
  );
  const other = await readPartitions(device);
  assert.match(other.notes.join(), /entry 2 of the boot record is none/);
  assert.equal(other.intact, false);
});

test('a GPT that the boot record does not point to', async () => {
  const device = await gptDisk();
  await device.write(0, bootRecord([[0x83, 2048, 2048]]));
  const table = await readPartitions(device);
  assert.deepEqual([table.kind, table.intact], ['mbr', false]);
  assert.match(table.notes.join(), /there is a GPT, too/);
  await device.write(0, new Uint8Array(512));
  const unprotected = await readPartitions(device);
  assert.deepEqual([unprotected.kind, unprotected.partitions.length, unprotected.intact], ['gpt', 2, false]);
});

test('copies of a GPT that differ, and a disk that has grown', async () => {
  const device = await gptDisk();
  const entries = gptEntries([[2048, 4095, 'other']]);
  const header = gptHeader(entries, { own: 8191, other: 1, entriesAt: 8159, sectors: 8192, sectorSize: 512 });
  await device.write(8159 * 512, entries);
  await device.write(8191 * 512, header);
  assert.match((await readPartitions(device)).notes.join(), /two copies of the GPT differ/);
  const small = await gptDisk();
  const bytes = new Uint8Array(small.size);
  await small.read(0, bytes);
  const grown = memoryDevice(8 * MiB);
  await grown.write(0, bytes);
  const table = await readPartitions(grown);
  assert.match(table.notes.join(), /the disk has grown/);
  assert.deepEqual([table.partitions.length, table.intact], [2, true]);
});

const signatures: [string, number, string][] = [
  ['ntfs', 3, 'NTFS    '],
  ['exfat', 3, 'EXFAT   '],
  ['BitLocker', 3, '-FVE-FS-'],
  ['refs', 3, 'ReFS\0\0\0\0'],
  ['LUKS', 0, 'LUKS\xba\xbe\0\x02'],
  ['xfs', 0, 'XFSB'],
  ['ext2', 1080, '\x53\xef'],
  ['apfs', 32, 'NXSB'],
  ['Oracle ASM member', 32, 'ORCLDISK'],
  ['Ceph BlueStore', 0, 'bluestore block device'],
  ['f2fs', 1024, '\x10\x20\xf5\xf2'],
  ['hfsplus', 1024, 'H+\0\x04'],
  ['swap', 4086, 'SWAPSPACE2'],
  ['swap', 65526, 'SWAPSPACE2'],
  ['swap with a hibernated system', 4086, 'S1SUSPEND'],
  ['iso9660', 32769, 'CD001'],
  ['btrfs', 65600, '_BHRfS_M'],
  ['ufs', 65536 + 1372, '\x19\x01\x54\x19'],
  ['ZFS member', 131 * KiB, '\x0c\xb1\xba\0\0\0\0\0'],
  ['VMFS member', MiB, '\x0d\xd0\x01\xc0'],
  ['Linux RAID member', 4096, '\xfc\x4e\x2b\xa9\x01'],
  ['Linux RAID member', 4 * MiB - 8 * KiB, '\xfc\x4e\x2b\xa9\x01'],
  ['Linux RAID member', 4 * MiB - 64 * KiB, '\xfc\x4e\x2b\xa9\0'],
  ['bcache', 4120, '\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81'],
];

async function signed(offset: number, magic: string): Promise<WritableDevice> {
  const device = memoryDevice(4 * MiB);
  await device.write(offset, Buffer.from(magic, 'latin1'));
  return device;
}

for (const [kind, offset, magic] of signatures) {
  test(`${kind} by its magic at ${offset}`, async () => {
    const table = await readPartitions(await signed(offset, magic));
    assert.deepEqual([table.kind, table.partitions.length], ['none', 1]);
    const [whole] = table.partitions;
    assert.deepEqual([whole?.index, whole?.length, whole?.fileSystem?.kind], [0, 4 * MiB, kind]);
  });
}

test('LVM2, with the name of the volume group member', async () => {
  const device = memoryDevice(4 * MiB);
  await device.write(0, bootRecord([[0x8e, 2048, 4096]]));
  await device.write(MiB + 512, Buffer.from('LABELONE'));
  await device.write(MiB + 512 + 24, Buffer.from('LVM2 001abcdefGHIJklmnOPQRstuvWXYZ012345'));
  const [partition] = (await readPartitions(device)).partitions;
  const wanted = { kind: 'LVM2 member', role: 'member', uuid: 'abcdef-GHIJ-klmn-OPQR-stuv-WXYZ-012345' };
  assert.deepEqual(partition?.fileSystem, wanted);
});

test('two signatures in one place are said', async () => {
  const device = await signed(1080, '\x53\xef');
  await device.write(131 * KiB, Buffer.from('\x0c\xb1\xba\0\0\0\0\0', 'latin1'));
  const table = await readPartitions(device);
  assert.match(table.notes.join(), /more than one thing: ZFS member, ext2/);
  assert.deepEqual(table.partitions[0]?.alsoShows, ['ext2']);
});

test('a file system at the beginning of a disk that has a table is said', async () => {
  const device = await signed(1080, '\x53\xef');
  await device.write(0, bootRecord([[0x83, 2048, 2048]]));
  const table = await readPartitions(device);
  assert.deepEqual([table.kind, table.intact], ['mbr', false]);
  assert.match(table.notes.join(), /ext2 shows at the disk's beginning/);
});

test('what reading raises is raised', async () => {
  const broken: BlockDevice = {
    ...memoryDevice(MiB),
    size: MiB,
    blockSize: 4096,
    read: async () => {
      throw new Error('no');
    },
  };
  await assert.rejects(readPartitions(broken), /no/);
});
