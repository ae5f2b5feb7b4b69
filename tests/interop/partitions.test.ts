/** Partition tables and file systems as the field's own tools make them; what blkid and sfdisk see is what is wanted. */
import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { MiB, runProgram } from '@prima/base';
import { openRawFile } from '@prima/block';
import { type PartitionTable, readPartitions } from '@prima/formats';
import { temporaryFolder } from '@prima/testbed';

async function emptyFile(path: string, size: number): Promise<string> {
  await using file = await open(path, 'w');
  await file.truncate(size);
  return path;
}

async function partitionsOf(path: string): Promise<PartitionTable> {
  const device = await openRawFile(path);
  try {
    return await readPartitions(device);
  } finally {
    await device.close();
  }
}

interface SfdiskTable {
  label: string;
  id: string;
  partitions: {
    node: string;
    start: number;
    size: number;
    type: string;
    uuid?: string;
    name?: string;
    bootable?: true;
  }[];
}

async function sfdiskSees(path: string): Promise<SfdiskTable> {
  const { stdout } = await runProgram('sfdisk', ['--json', path]);
  return (JSON.parse(stdout) as { partitiontable: SfdiskTable }).partitiontable;
}

/** Both in one shape. */
function comparable(found: PartitionTable, theirs: SfdiskTable) {
  const unit = found.sectorSize;
  const ours = found.partitions
    .map(({ index, offset, length, typeId, uuid, name }) => {
      const type = typeId.startsWith('0x') ? Number(typeId).toString(16) : typeId;
      return { index, start: offset / unit, size: length / unit, type, uuid, name };
    })
    .sort((a, b) => a.index - b.index);
  const wanted = theirs.partitions
    .filter(({ type }) => !['5', 'f', '85'].includes(type))
    .map(({ node, start, size, type, uuid, name }) => {
      const index = Number(/\d+$/.exec(node)?.[0]);
      return { index, start, size, type: type.toLowerCase(), uuid: uuid?.toLowerCase(), name };
    });
  return { ours, wanted };
}

test('an MBR with logical partitions', async (context) => {
  const path = await emptyFile(join(await temporaryFolder(context), 'a.raw'), 64 * MiB);
  const script = 'label: dos\n,4M,L,*\n,4M,7\n,,E\n,3M,L\n,5M,82\n,6M,8e\n';
  await runProgram('sfdisk', [path], { input: script });
  await runProgram('sfdisk', ['--delete', path, '6']);
  const table = await partitionsOf(path);
  const { ours, wanted } = comparable(table, await sfdiskSees(path));
  assert.deepEqual(ours, wanted);
  assert.equal(ours.length, 4);
  assert.deepEqual([table.kind, table.notes, table.intact], ['mbr', [], true]);
  assert.equal(table.partitions.find(({ index }) => index === 1)?.bootable, true);
});

test('a GPT, its backup, and the tools that mend it', async (context) => {
  const path = await emptyFile(join(await temporaryFolder(context), 'a.raw'), 64 * MiB);
  const parts = [
    '-n1:0:+8M',
    '-t1:ef00',
    '-c1:EFI',
    '-n2:0:+8M',
    '-t2:8300',
    '-n7:0:0',
    '-t7:fd00',
    '-c7:сеть',
  ];
  await runProgram('sgdisk', [...parts, path]);
  const whole = await partitionsOf(path);
  const { ours, wanted } = comparable(whole, await sfdiskSees(path));
  assert.deepEqual(ours, wanted);
  assert.deepEqual([ours.length, whole.notes, whole.intact], [3, [], true]);

  await using file = await open(path, 'r+');
  await file.write(new Uint8Array(4096), 0, 4096, 512);
  const mended = await partitionsOf(path);
  assert.match(mended.notes.join(), /primary GPT is damaged.*the backup at the disk's end was used/);
  assert.deepEqual(mended.partitions, whole.partitions);
  await runProgram('sgdisk', ['-e', '-b', `${path}.table`, path], { accept: [0, 3] });
  await runProgram('sgdisk', ['-l', `${path}.table`, path], { accept: [0, 3] });
  assert.deepEqual(await partitionsOf(path), whole);

  await runProgram('sgdisk', ['-h', '2', path]);
  const hybrid = await partitionsOf(path);
  assert.match(hybrid.notes.join(), /hybrid: entry \d of the boot record is partition 2/);
  await runProgram('sgdisk', ['--zap-all', path], { accept: [0, 2] });
  assert.deepEqual((await partitionsOf(path)).partitions, []);
});

const made: [string, string, string[]][] = [
  ['ext2', 'mke2fs', ['-q', '-t', 'ext2', '-L', 'label']],
  ['ext3', 'mke2fs', ['-q', '-t', 'ext3', '-L', 'label', '-b', '1024']],
  ['ext4', 'mke2fs', ['-q', '-t', 'ext4', '-L', 'label']],
  ['xfs', 'mkfs.xfs', ['-q', '-L', 'label', '-f']],
  ['ntfs', 'mkfs.ntfs', ['-q', '-Q', '-F', '-L', 'label']],
  ['vfat', 'mkfs.vfat', ['-F', '16', '-n', 'LABEL']],
  ['vfat', 'mkfs.vfat', ['-F', '32', '-n', 'LABEL']],
  ['swap', 'mkswap', ['-L', 'label']],
];
for (const [kind, program, options] of made) {
  test(`${program} ${options.join(' ')} is ${kind}, as blkid sees it`, async (context) => {
    const path = await emptyFile(join(await temporaryFolder(context), 'a.raw'), 320 * MiB);
    await runProgram(program, [...options, path]);
    const { stdout } = await runProgram('blkid', ['-p', '-o', 'export', path]);
    const blkid = Object.fromEntries(
      stdout
        .trim()
        .split('\n')
        .map((line) => line.split('=')),
    ) as Record<string, string>;
    const table = await partitionsOf(path);
    const [whole] = table.partitions;
    assert.deepEqual([table.kind, table.partitions.length, table.notes], ['none', 1, []]);
    assert.equal(whole?.fileSystem?.kind, kind);
    assert.equal(blkid['TYPE'], kind);
    assert.equal(whole?.fileSystem?.uuid, blkid['UUID']?.toLowerCase());
    if (kind !== 'ntfs') assert.equal(whole?.fileSystem?.label, blkid['LABEL']);
    const blockSize = whole?.fileSystem?.blockSize ?? 0;
    assert.ok(blockSize >= 512 && Number.isInteger(Math.log2(blockSize)), String(blockSize));
  });
}
