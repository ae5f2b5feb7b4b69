/**
 * Free space as Prima finds it, held against the file systems' own tools: the same ranges, and nothing is missed when
 * what is called free is overwritten with noise. No file system is mounted.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { copyFile, mkdir, open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  KiB,
  mergeRanges,
  MiB,
  type Random,
  type Range,
  runProgram,
  seededRandom,
  totalLength,
} from '@prima/base';
import { openRawFile } from '@prima/block';
import { findFreeSpace, type FreeSpace } from '@prima/formats';
import { type Cleanup, fuzzRun, temporaryFolder } from '@prima/testbed';

async function emptyFile(path: string, size: number): Promise<string> {
  await using file = await open(path, 'w');
  await file.truncate(size);
  return path;
}

async function freeOf(path: string, smallest = 1): Promise<FreeSpace> {
  const device = await openRawFile(path);
  try {
    return await findFreeSpace(device, { smallest });
  } finally {
    await device.close();
  }
}

async function found(path: string): Promise<Range[]> {
  const { ranges, parts, why } = await freeOf(path);
  assert.equal(why, undefined);
  for (const part of parts) assert.equal(part.why, undefined, part.name);
  assert.ok(ranges.length > 0);
  return ranges;
}

/** Why nothing of the one file system in a file may be skipped. */
async function refusal(path: string): Promise<string> {
  const { ranges, parts, why } = await freeOf(path);
  assert.deepEqual(ranges, []);
  return why ?? parts.map((part) => part.why).join();
}

async function patch(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  await using file = await open(path, 'r+');
  await file.write(bytes, 0, bytes.length, offset);
}

async function flip(path: string, offset: number): Promise<void> {
  await using file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, offset);
  await file.write(Buffer.of((byte[0] ?? 0) ^ 0x10), 0, 1, offset);
}

/** A copy in which all that is called free is noise. */
async function wiped(path: string, ranges: readonly Range[], random: Random): Promise<string> {
  const copy = `${path}.wiped`;
  await copyFile(path, copy);
  await using file = await open(copy, 'r+');
  for (const { offset, length } of ranges) {
    for (let done = 0; done < length; done += MiB) {
      const piece = random.bytes(new Uint8Array(Math.min(MiB, length - done)));
      await file.write(piece, 0, piece.length, offset + done);
    }
  }
  return copy;
}

interface Sample {
  name: string;
  bytes: Buffer;
}

/** Files of many sizes, from none to a few MiB. */
function samples(random: Random, count: number, largest = 2 * MiB): Sample[] {
  return Array.from({ length: count }, (_, i) => {
    const size = random.below(3) === 0 ? random.below(largest) : random.below(40 * KiB);
    return { name: `file${i}`, bytes: Buffer.from(random.bytes(new Uint8Array(size))) };
  });
}

async function folderOf(files: readonly Sample[], folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const { name, bytes } of files) await writeFile(join(folder, name), bytes);
  return folder;
}

const sha = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

// ext2, ext3, ext4

const extVariants: string[][] = [
  ['-t', 'ext2'],
  ['-t', 'ext2', '-b', '1024', '-r', '0'],
  ['-t', 'ext3', '-b', '1024'],
  ['-t', 'ext4'],
  ['-t', 'ext4', '-b', '1024'],
  ['-t', 'ext4', '-b', '2048', '-O', '^64bit'],
  ['-t', 'ext4', '-O', '^64bit,^metadata_csum,uninit_bg'],
  ['-t', 'ext4', '-O', '64bit,^metadata_csum,uninit_bg', '-b', '1024'],
  ['-t', 'ext4', '-O', 'meta_bg,^resize_inode', '-b', '1024'],
  ['-t', 'ext4', '-O', 'meta_bg,^resize_inode'],
  ['-t', 'ext4', '-O', '^flex_bg', '-b', '1024'],
  ['-t', 'ext4', '-O', 'bigalloc', '-C', '16384', '-N', '4000'],
  ['-t', 'ext4', '-O', 'bigalloc', '-C', '65536', '-b', '1024'],
  ['-t', 'ext4', '-O', 'sparse_super2', '-b', '1024'],
  ['-t', 'ext4', '-O', '^sparse_super,^resize_inode', '-b', '1024'],
  ['-t', 'ext4', '-O', 'metadata_csum_seed,inline_data,quota,project,casefold'],
  ['-t', 'ext4', '-O', '^has_journal', '-g', '4096'],
  ['-t', 'ext4', '-O', 'mmp', '-I', '512', '-N', '20000'],
];

async function makeExt(
  context: Cleanup,
  options: readonly string[],
  random: Random,
): Promise<[string, Sample[]]> {
  const folder = await temporaryFolder(context);
  const files = samples(random, 120, MiB);
  const path = await emptyFile(join(folder, 'fs.raw'), 256 * MiB + random.below(3000) * KiB);
  const source = await folderOf(files, join(folder, 'in'));
  await runProgram('mke2fs', ['-q', '-F', ...options, '-d', source, path]);
  const gone = files.filter((_, i) => i % 3 === 1);
  const script = join(folder, 'script');
  await writeFile(
    script,
    gone
      .map(
        ({ name }) => `rm ${name}
`,
      )
      .join(''),
  );
  await runProgram('debugfs', ['-w', '-f', script, path]);
  await runProgram('e2fsck', ['-fp', path], { accept: [0, 1] });
  return [path, files.filter((file) => !gone.includes(file))];
}

async function dumpe2fsSees(path: string): Promise<Range[]> {
  const { stdout } = await runProgram('dumpe2fs', [path]);
  const unit = Number(/^Block size: +(\d+)$/m.exec(stdout)?.[1]);
  const clusterBytes = Number(/^Cluster size: +(\d+)$/m.exec(stdout)?.[1] ?? unit); // a run's end names its last cluster's first block
  const ranges: Range[] = [];
  for (const [, list = ''] of stdout.matchAll(/^ {2}Free blocks: (.*)$/gm)) {
    for (const run of list.split(', ').filter((text) => text !== '')) {
      const [first = 0, last = first] = run.split('-').map(Number);
      ranges.push({ offset: first * unit, length: (last - first) * unit + clusterBytes });
    }
  }
  return mergeRanges(ranges);
}

for (const options of extVariants) {
  test(`mke2fs ${options.join(' ')}: the free blocks of dumpe2fs, and only they`, async (context) => {
    const { seed, random } = fuzzRun(1);
    const [path, files] = await makeExt(context, options, random);
    const ranges = await found(path);
    assert.deepEqual(ranges, await dumpe2fsSees(path), `seed ${seed}`);
    const copy = await wiped(path, ranges, random);
    await runProgram('e2fsck', ['-fn', copy]);
    const out = join(await temporaryFolder(context), 'out');
    await mkdir(out);
    await runProgram('debugfs', ['-R', `rdump / ${out}`, copy]);
    for (const { name, bytes } of files) {
      const content = await readFile(join(out, name));
      // debugfs gives all 60 bytes of what lies in the inode, however short the file is
      const own = bytes.length < 60 ? content.subarray(0, bytes.length) : content;
      assert.equal(sha(own), sha(bytes), `${name}, seed ${seed}`);
    }
    assert.ok(totalLength((await freeOf(path, 64 * KiB)).ranges) <= totalLength(ranges));
  });
}

const extDamages: [string, string[], (path: string) => Promise<unknown>, RegExp][] = [
  [
    'needs_recovery',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'feature needs_recovery', path]),
    /journal has to be replayed/,
  ],
  [
    'not clean',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_super_value state 0', path]),
    /not unmounted cleanly/,
  ],
  [
    'with errors',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_super_value state 3', path]),
    /noted errors/,
  ],
  [
    'with an error count',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_super_value error_count 1', path]),
    /noted errors/,
  ],
  [
    'with orphans',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_super_value last_orphan 12', path]),
    /deleted files/,
  ],
  [
    'with a wrong count',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_super_value free_blocks_count 5', path]),
    /superblock says 5/,
  ],
  [
    'with a wrong count in a group',
    [],
    (path) => runProgram('debugfs', ['-w', '-R', 'set_bg 1 free_blocks_count 5', path]),
    /descriptor says 5|wrong checksum/,
  ],
  [
    'with a bit of the superblock flipped',
    [],
    (path) => flip(path, 1024 + 0x90),
    /superblock has a wrong checksum/,
  ],
  [
    'with a bit of a descriptor flipped',
    [],
    (path) => flip(path, 4096 + 70),
    /descriptor of group 1 has a wrong checksum/,
  ],
  [
    'with a bit of the bitmap flipped',
    [],
    (path) => flipBitmap(path),
    /bitmap of group \d+ has a wrong checksum/,
  ],
  [
    'ext2 with a bit of the bitmap flipped',
    ['-t', 'ext2'],
    (path) => flipBitmap(path),
    /free clusters in its bitmap/,
  ],
  [
    'uninit_bg with a bit of the bitmap flipped',
    ['-O', '^metadata_csum,uninit_bg'],
    (path) => flipBitmap(path),
    /free clusters in its/,
  ],
  [
    'with a feature nobody knows',
    ['-O', '^metadata_csum'],
    (path) => patch(path, 1024 + 0x60, Buffer.of(0, 0, 0, 0x10)),
    /features that Prima does not know/,
  ],
  ['with a journal that is not empty', [], (path) => startJournal(path), /journal is not empty/],
  ['cut short', [], (path) => runProgram('truncate', ['-s', '-16M', path]), /its partition/],
];

async function flipBitmap(path: string): Promise<void> {
  const { stdout } = await runProgram('dumpe2fs', [path]);
  const unit = Number(/^Block size: +(\d+)$/m.exec(stdout)?.[1]);
  await flip(path, Number(/Block bitmap at (\d+)/.exec(stdout)?.[1]) * unit + 1000);
}

async function startJournal(path: string): Promise<void> {
  const { stdout } = await runProgram('debugfs', ['-R', 'bmap <8> 0', path]);
  await patch(path, Number(stdout) * 4096 + 28, Buffer.of(0, 0, 0, 1));
}

for (const [title, options, damage, wanted] of extDamages) {
  test(`an ext file system ${title} is refused`, async (context) => {
    const path = await emptyFile(join(await temporaryFolder(context), 'fs.raw'), 256 * MiB);
    await runProgram('mke2fs', [
      '-q',
      '-F',
      ...(options.includes('-t') ? [] : ['-t', 'ext4']),
      '-b',
      '4096',
      ...options,
      path,
    ]);
    await found(path);
    await damage(path);
    assert.match(await refusal(path), wanted);
  });
}

// XFS

const xfsVariants: string[][] = [
  [],
  ['-d', 'agcount=3'],
  ['-b', 'size=1024'],
  ['-b', 'size=512', '-m', 'crc=0', '-i', 'size=256'],
  ['-m', 'crc=0,finobt=0'],
  ['-m', 'rmapbt=1,reflink=1,finobt=1,bigtime=1,inobtcount=1'],
  ['-m', 'reflink=0,finobt=0,inobtcount=0'],
  ['-s', 'size=4096'],
  ['-l', 'su=256k'],
  ['-m', 'uuid=11111111-2222-3333-4444-555555555555'],
];

async function makeXfs(
  context: Cleanup,
  options: readonly string[],
  random: Random,
): Promise<[string, Sample[]]> {
  const folder = await temporaryFolder(context);
  const files = samples(random, 80);
  const source = await folderOf(files, join(folder, 'in'));
  const path = await emptyFile(join(folder, 'fs.raw'), 320 * MiB + random.below(3000) * KiB);
  const lines = files.map(({ name }) => `${name} ---644 0 0 ${join(source, name)}`);
  const prototype = join(folder, 'proto');
  await writeFile(prototype, ['/', '0 0', 'd--755 0 0', ...lines, '$', '$', ''].join('\n'));
  await runProgram('mkfs.xfs', ['-q', '-f', ...options, '-p', prototype, path]);
  return [path, files];
}

interface XfsSees {
  runs: { group: number; block: number; length: number }[];
  blockSize: number;
  groupBlocks: number;
}

async function xfsDb(path: string, ...commands: string[]): Promise<string> {
  return (await runProgram('xfs_db', ['-r', ...commands.flatMap((command) => ['-c', command]), path])).stdout;
}

async function xfsSees(path: string): Promise<XfsSees> {
  const superblock = await xfsDb(path, 'sb 0', 'print');
  const value = (name: string) => Number(new RegExp(`^${name} = (\\d+)$`, 'm').exec(superblock)?.[1]);
  const list = await xfsDb(path, 'freesp -d');
  const rows = list
    .split('\n')
    .map((line) => /^ *(\d+) +(\d+) +(\d+) *$/.exec(line)?.slice(1).map(Number) ?? []);
  const runs = rows.flatMap(([group, block, length]) =>
    group === undefined || block === undefined || length === undefined ? [] : [{ group, block, length }],
  );
  return { runs, blockSize: value('blocksize'), groupBlocks: value('agblocks') };
}

/** Without the free list of each group, which `freesp` shows block by block, and first. */
async function xfsFree(path: string): Promise<Range[]> {
  const { runs, blockSize, groupBlocks } = await xfsSees(path);
  const groups = [...new Set(runs.map(({ group }) => group))];
  const ranges: Range[] = [];
  for (const group of groups) {
    const listed = Number(/flcount = (\d+)/.exec(await xfsDb(path, `agf ${group}`, 'print flcount'))?.[1]);
    for (const { block, length } of runs.filter((run) => run.group === group).slice(listed)) {
      ranges.push({ offset: (group * groupBlocks + block) * blockSize, length: length * blockSize });
    }
  }
  return ranges.sort((a, b) => a.offset - b.offset);
}

/** A file's bytes, found through the map that xfs_db shows. */
async function xfsFile(path: string, name: string, from: string): Promise<Buffer> {
  const { blockSize, groupBlocks } = await xfsSees(from);
  const listing = await xfsDb(from, 'sb 0', 'addr rootino', 'ls');
  const inode = new RegExp(`^\\d+ +(\\d+) .* ${name} `, 'm').exec(listing)?.[1] ?? '';
  const core = await xfsDb(from, `inode ${inode}`, 'print core.size', 'bmap');
  const size = Number(/core.size = (\d+)/.exec(core)?.[1]);
  const bytes = Buffer.alloc(size);
  await using file = await open(path, 'r');
  for (const [, at, , group, block, count] of core.matchAll(
    /data offset (\d+) startblock (\d+) \((\d+)\/(\d+)\) count (\d+)/g,
  )) {
    const target = Number(at) * blockSize;
    const length = Math.min(Number(count) * blockSize, size - target);
    if (length > 0)
      await file.read(bytes, target, length, (Number(group) * groupBlocks + Number(block)) * blockSize);
  }
  return bytes;
}

for (const options of xfsVariants) {
  test(`mkfs.xfs ${options.join(' ')}: the free runs of xfs_db, and only they`, async (context) => {
    const { seed, random } = fuzzRun(1);
    const [path, files] = await makeXfs(context, options, random);
    const ranges = await found(path);
    assert.deepEqual(ranges, mergeRanges(await xfsFree(path)), `seed ${seed}`);
    const copy = await wiped(path, ranges, random);
    await runProgram('xfs_repair', ['-n', '-f', copy]);
    for (const { name, bytes } of files.slice(0, 12)) {
      assert.equal(sha(await xfsFile(copy, name, path)), sha(bytes), `${name}, seed ${seed}`);
    }
  });
}

/** Where the log begins, bytes. */
async function xfsLog(path: string): Promise<number> {
  const shown = await xfsDb(
    path,
    'convert fsblock 0 fsblock',
    'sb 0',
    'print logstart agblklog agblocks blocksize',
  );
  const value = (name: string) => Number(new RegExp(`^${name} = (\\d+)$`, 'm').exec(shown)?.[1]);
  const [start, shift] = [value('logstart'), value('agblklog')];
  const group = Math.floor(start / 2 ** shift);
  return (group * value('agblocks') + (start % 2 ** shift)) * value('blocksize');
}

const xfsDamages: [string, string[], (path: string) => Promise<unknown>, RegExp][] = [
  ['whose log is in use', [], async (path) => dirtyLog(path), /log has to be replayed/],
  [
    'whose log has a hole',
    [],
    async (path) => patch(path, (await xfsLog(path)) + 20 * 512, Buffer.of(0, 0, 0, 1)),
    /log has holes/,
  ],
  [
    'whose log is gone',
    [],
    async (path) => patch(path, await xfsLog(path), Buffer.alloc(1024)),
    /log is empty/,
  ],
  ['with a bit of the superblock flipped', [], (path) => flip(path, 400), /superblock has a wrong checksum/],
  [
    'with a bit of a group header flipped',
    [],
    (path) => flip(path, 512 + 52),
    /header of allocation group 0 has a wrong/,
  ],
  [
    'with a bit of a tree flipped',
    [],
    (path) => flip(path, 4096 + 60),
    /free-space tree of group 0 has a wrong checksum/,
  ],
  ['with a wrong count', ['-m', 'crc=0'], (path) => patch(path, 144, Buffer.alloc(8)), /superblock says 0/],
  [
    'old, with a bit of a tree flipped',
    ['-m', 'crc=0'],
    (path) => flip(path, 4096 + 16 + 3),
    /differ|contradicts|free blocks in its trees|touch|leave/,
  ],
  [
    'with a realtime part',
    [],
    (path) => patch(path, 16, Buffer.of(0, 0, 0, 0, 0, 0, 0, 1)),
    /wrong checksum/,
  ],
  [
    'old, with a realtime part',
    ['-m', 'crc=0'],
    (path) => patch(path, 16, Buffer.of(0, 0, 0, 0, 0, 0, 0, 1)),
    /realtime/,
  ],
  [
    'that needs repair',
    [],
    (path) => runProgram('xfs_db', ['-x', '-c', 'sb 0', '-c', 'write features_incompat 0x1b', path]),
    /needs repair/,
  ],
  ['cut short', [], (path) => runProgram('truncate', ['-s', '-16M', path]), /its partition/],
];

/** As if the system had gone down right after the first record that a mount writes. */
async function dirtyLog(path: string): Promise<void> {
  const log = await xfsLog(path);
  await using file = await open(path, 'r+');
  const record = Buffer.alloc(1024);
  await file.read(record, 0, 1024, log);
  record.writeUInt32BE(5, 40);
  await file.write(record, 0, 1024, log + 1024);
}

for (const [title, options, damage, wanted] of xfsDamages) {
  test(`an XFS ${title} is refused`, async (context) => {
    const path = await emptyFile(join(await temporaryFolder(context), 'fs.raw'), 320 * MiB);
    await runProgram('mkfs.xfs', ['-q', '-f', ...options, path]);
    await found(path);
    await damage(path);
    assert.match(await refusal(path), wanted);
  });
}

test('an XFS with its log elsewhere is refused', async (context) => {
  const folder = await temporaryFolder(context);
  const path = await emptyFile(join(folder, 'fs.raw'), 320 * MiB);
  const log = await emptyFile(join(folder, 'log.raw'), 64 * MiB);
  await runProgram('mkfs.xfs', ['-q', '-f', '-l', `logdev=${log}`, path]);
  assert.match(await refusal(path), /log is on another device/);
});

// NTFS

const ntfsVariants: string[][] = [[], ['-c', '512'], ['-c', '65536'], ['-c', '1024', '-z', '4']];

async function makeNtfs(
  context: Cleanup,
  options: readonly string[],
  random: Random,
): Promise<[string, Sample[]]> {
  const folder = await temporaryFolder(context);
  const files = samples(random, 25);
  const source = await folderOf(files, join(folder, 'in'));
  const path = await emptyFile(join(folder, 'fs.raw'), 64 * MiB + random.below(3000) * KiB);
  await runProgram('mkfs.ntfs', ['-q', '-Q', '-F', ...options, path]);
  for (const { name } of files) await runProgram('ntfscp', ['-q', path, join(source, name), name]);
  return [path, files];
}

async function ntfsFile(path: string, ...which: string[]): Promise<Buffer> {
  const { stdout } = await runProgram('sh', ['-c', 'ntfscat "$@" | base64 -w0', 'sh', path, ...which]);
  return Buffer.from(stdout, 'base64');
}

async function ntfsSees(path: string): Promise<Range[]> {
  const { stdout } = await runProgram('ntfsinfo', ['-m', path]);
  const value = (name: string) => Number(new RegExp(`^\\s*${name}: (\\d+)`, 'm').exec(stdout)?.[1]);
  const [unit, clusters] = [value('Cluster Size'), value('Volume Size in Clusters')];
  const bitmap = await ntfsFile(path, '-i', '6');
  const ranges: Range[] = [];
  for (let i = 0; i < clusters; i += 1) {
    if ((((bitmap[i >> 3] ?? 0xff) >> (i & 7)) & 1) === 0) ranges.push({ offset: i * unit, length: unit });
  }
  assert.equal(ranges.length, value('Free Clusters'));
  return mergeRanges(ranges);
}

for (const options of ntfsVariants) {
  test(`mkfs.ntfs ${options.join(' ')}: the free clusters of ntfsinfo, and only they`, async (context) => {
    const { seed, random } = fuzzRun(1);
    const [path, files] = await makeNtfs(context, options, random);
    const ranges = await found(path);
    assert.deepEqual(ranges, await ntfsSees(path), `seed ${seed}`);
    const copy = await wiped(path, ranges, random);
    await runProgram('ntfsfix', ['-n', copy]);
    for (const { name, bytes } of files)
      assert.equal(sha(await ntfsFile(copy, name)), sha(bytes), `${name}, seed ${seed}`);
  });
}

/** Where a file record lies; mkfs.ntfs keeps the first ones together. */
async function ntfsRecord(path: string, number: number): Promise<number> {
  const boot = (await readFile(path)).subarray(0, 512);
  const cluster = boot.readUInt16LE(11) * boot.readUInt8(13);
  return Number(boot.readBigUInt64LE(48)) * cluster + number * 1024;
}

/** Where the log lies, bytes. */
async function ntfsLog(path: string): Promise<number> {
  const { stdout } = await runProgram('ntfsinfo', ['-i', '2', '-v', path]);
  return Number(`0x${/^\s+0x0\s+0x([0-9a-f]+)/m.exec(stdout)?.[1]}`) * 4096;
}

async function withHibernation(path: string, head: string): Promise<void> {
  const file = `${path}.hiberfil`;
  const bytes = Buffer.alloc(64 * KiB);
  bytes.write(head, 'latin1');
  await writeFile(file, bytes);
  await runProgram('ntfscp', ['-q', path, file, 'hiberfil.sys']);
}

const restart = (client: number, flags: number, version: [number, number]) => {
  const page = Buffer.alloc(4096);
  page.write('RSTR', 0, 'latin1');
  page.writeUInt16LE(30, 4);
  page.writeUInt16LE(9, 6);
  page.writeUInt32LE(4096, 16);
  page.writeUInt32LE(4096, 20);
  page.writeUInt16LE(48, 24);
  page.writeUInt16LE(version[1], 26);
  page.writeUInt16LE(version[0], 28);
  page.writeUInt16LE(client, 48 + 12);
  page.writeUInt16LE(flags, 48 + 14);
  page.writeUInt16LE(7, 30);
  for (let i = 1; i <= 8; i += 1) page.writeUInt16LE(7, i * 512 - 2);
  return Buffer.concat([page, page]);
};

async function writeLog(path: string, bytes: Uint8Array): Promise<void> {
  await patch(path, await ntfsLog(path), bytes);
}

test('an NTFS whose log was closed, or whose hiberfil.sys sleeps no more, is read', async (context) => {
  const path = await emptyFile(join(await temporaryFolder(context), 'fs.raw'), 64 * MiB);
  await runProgram('mkfs.ntfs', ['-q', '-Q', '-F', '-c', '4096', path]);
  await withHibernation(path, 'wake');
  await found(path);
  await writeLog(path, restart(0, 2, [1, 1]));
  await found(path);
  await writeLog(path, restart(0xffff, 0, [1, 1]));
  await found(path);
});

const ntfsDamages: [string, (path: string) => Promise<unknown>, RegExp][] = [
  ['that is hibernated', (path) => withHibernation(path, 'hibr'), /Windows is hibernated/],
  ['whose log is in use', (path) => writeLog(path, restart(0, 0, [1, 1])), /log has to be replayed/],
  ['with fast start-up', (path) => writeLog(path, restart(0xffff, 2, [2, 0])), /fast start-up/],
  ['whose log is noise', (path) => writeLog(path, Buffer.alloc(4096, 0x11)), /does not begin with RSTR/],
  [
    'whose log is not quite empty',
    (path) => writeLog(path, Buffer.concat([Buffer.alloc(9000, 0xff), Buffer.of(1)])),
    /neither empty/,
  ],
  ['whose boot sector differs from its copy', (path) => flip(path, 80), /copy of its boot sector/],
  [
    'whose mirror differs',
    async (path) => flip(path, (await ntfsRecord(path, 3)) + 0x200 + 8),
    /mirror differ/,
  ],
  [
    'with a record torn',
    async (path) => flip(path, (await ntfsRecord(path, 6)) + 0x1fe),
    /record 6 was written in part/,
  ],
  ['cut short', (path) => runProgram('truncate', ['-s', '-1M', path]), /its partition/],
];
for (const [title, damage, wanted] of ntfsDamages) {
  test(`an NTFS ${title} is refused`, async (context) => {
    const path = await emptyFile(join(await temporaryFolder(context), 'fs.raw'), 64 * MiB);
    await runProgram('mkfs.ntfs', ['-q', '-Q', '-F', '-c', '4096', path]);
    await found(path);
    await damage(path);
    assert.match(await refusal(path), wanted);
  });
}

test('an NTFS that is marked as dirty is refused', async (context) => {
  const path = await emptyFile(join(await temporaryFolder(context), 'fs.raw'), 64 * MiB);
  await runProgram('mkfs.ntfs', ['-q', '-Q', '-F', '-c', '4096', path]);
  await runProgram('ntfsfix', [path]); // leaves the mark, so that Windows checks the volume
  assert.match(await refusal(path), /marked as dirty/);
});

// disks

test('free space in partitions is where the partitions are', async (context) => {
  const random = seededRandom(3);
  const folder = await temporaryFolder(context);
  const disk = await emptyFile(join(folder, 'disk.raw'), 800 * MiB);
  await runProgram('sgdisk', [
    '-n1:0:+300M',
    '-t1:8300',
    '-n2:0:+400M',
    '-t2:8300',
    '-n3:0:0',
    '-t3:8200',
    disk,
  ]);
  const [ext, xfs] = [
    await emptyFile(join(folder, 'ext'), 300 * MiB),
    await emptyFile(join(folder, 'xfs'), 400 * MiB),
  ];
  await runProgram('mke2fs', ['-q', '-F', '-t', 'ext4', ext]);
  await runProgram('mkfs.xfs', ['-q', '-f', xfs]);
  await runProgram('dd', [`if=${ext}`, `of=${disk}`, 'bs=1M', 'seek=1', 'conv=notrunc,sparse']);
  await runProgram('dd', [`if=${xfs}`, `of=${disk}`, 'bs=1M', 'seek=301', 'conv=notrunc,sparse']);
  const { ranges, parts } = await freeOf(disk);
  const moved = (list: readonly Range[], by: number) =>
    list.map(({ offset, length }) => ({ offset: offset + by, length }));
  assert.deepEqual(ranges, [...moved(await found(ext), MiB), ...moved(await found(xfs), 301 * MiB)]);
  assert.deepEqual(
    parts.map(({ name, why }) => [name, why]),
    [
      ['partition 1 (ext4)', undefined],
      ['partition 2 (xfs)', undefined],
      ['partition 3', 'nothing known is on it'],
    ],
  );
  const copy = await wiped(disk, ranges, random);
  assert.deepEqual((await freeOf(copy)).ranges, ranges);
  await runProgram('sgdisk', ['-t1:8e00', disk]);
  assert.match((await freeOf(disk)).parts[0]?.why ?? '', /Linux LVM .* may belong to something above it/);
  await flip(disk, 512 + 40);
  assert.match(await refusal(disk), /partition table is not in order: the primary GPT is damaged/);
});

test('a file system under something newer is refused', async (context) => {
  const folder = await temporaryFolder(context);
  const path = await emptyFile(join(folder, 'fs.raw'), 256 * MiB);
  await runProgram('mke2fs', ['-q', '-F', '-t', 'ext4', path]);
  await patch(path, 131 * KiB, Buffer.from('0cb1ba0000000000', 'hex'));
  assert.match(await refusal(path), /ZFS member and ext4: one of them is stale/);
});
