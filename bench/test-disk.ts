/**
 * The disks that the benchmark backs up, ext4 with real files of this machine, sparse: 8 GiB with some 3 GiB in it, and 4 GiB
 * with 1.8 GiB. Built once and kept in the test bed's cache.
 */
import { createCipheriv, createHash } from 'node:crypto';
import {
  copyFileSync,
  type Dirent,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  formatBytes,
  GiB,
  KiB,
  type Logger,
  MiB,
  runProgram,
  silentLogger,
  systemErrorCode,
  temporaryPrefix,
} from '@prima/base';
import { lockFile, testbedCache } from '@prima/testbed';

/** What is on the disk; printed with the benchmark's results. */
export interface TestDiskFacts {
  sizeBytes: number;
  files: number;
  /** Content of this machine's own files, as it is. */
  realBytes: number;
  /** Content of copies in which 16 bytes of every 4 KiB were replaced, so that they do not deduplicate. */
  variedBytes: number;
  /** What the disk's file occupies. */
  allocatedBytes: number;
  /** The above as a sentence. */
  summary: string;
}

export interface TestDisk {
  path: string;
  facts: TestDiskFacts;
}

const shapes = {
  large: { sizeBytes: 8 * GiB, contentBytes: 3 * GiB, folder: 'bench-disk' },
  small: { sizeBytes: 4 * GiB, contentBytes: 1.8 * GiB, folder: 'bench-disk-small' },
} as const;
type Shape = (typeof shapes)[keyof typeof shapes];

const largestFileBytes = 256 * MiB;
const sources = ['/usr', '/var/lib', '/opt'];
const recipe = 1; // raise it when what is built changes

/** Builds the disk, or finds it in the cache. Takes a minute the first time, and 4 GiB of room. */
export async function buildTestDisk(
  options: { log?: Logger; size?: keyof typeof shapes } = {},
): Promise<TestDisk> {
  const { log = silentLogger, size = 'large' } = options;
  const shape = shapes[size];
  const { contentBytes } = shape;
  const cache = await testbedCache();
  const folder = join(cache, `${shape.folder}-${recipe}`);
  await using _lock = await lockFile(join(cache, 'bench-disk.lock'));
  const stored = await readFile(join(folder, 'facts.json'), 'utf8').catch((error: unknown) => {
    if (systemErrorCode(error) !== 'ENOENT') throw error;
    return undefined;
  });
  if (stored !== undefined) {
    return { path: join(folder, 'disk.raw'), facts: JSON.parse(stored) as TestDiskFacts };
  }
  log.info(`building the benchmark's disk: ${formatBytes(contentBytes)} of files from ${sources.join(', ')}`);
  for (const name of await readdir(cache)) {
    // left by a build that was killed; we hold the lock
    if (name.startsWith(`${temporaryPrefix}bench-`)) await rm(join(cache, name), { recursive: true });
  }
  const building = await mkdtemp(join(cache, `${temporaryPrefix}bench-`));
  try {
    const facts = await build(building, shape);
    await rm(join(building, 'stage'), { recursive: true });
    await writeFile(join(building, 'facts.json'), JSON.stringify(facts, null, 2));
    await rename(building, folder);
    log.info(facts.summary);
    return { path: join(folder, 'disk.raw'), facts };
  } finally {
    await rm(building, { recursive: true, force: true });
  }
}

async function build(folder: string, { sizeBytes, contentBytes }: Shape): Promise<TestDiskFacts> {
  const stage = join(folder, 'stage');
  await mkdir(stage);
  const staged = stageReal(stage, contentBytes);
  const varied = stageVaried(stage, staged.paths, contentBytes - staged.bytes);
  const path = join(folder, 'disk.raw');
  await makeFileSystem(stage, path, sizeBytes);
  const allocatedBytes = (await stat(path)).blocks * 512;
  const files = staged.paths.length + varied.files;
  const more = varied.bytes === 0 ? '' : `, and ${formatBytes(varied.bytes)} of copies varied every 4 KiB`;
  return {
    sizeBytes,
    files,
    realBytes: staged.bytes,
    variedBytes: varied.bytes,
    allocatedBytes,
    summary:
      `${formatBytes(sizeBytes)} ext4 disk, ${formatBytes(allocatedBytes)} allocated: ${files} files, ` +
      `${formatBytes(staged.bytes)} as they are on this machine${more}`,
  };
}

/** Puts this machine's files, in the order of their names, into `stage` until there are enough. */
function stageReal(stage: string, contentBytes: number): { bytes: number; paths: string[] } {
  const paths: string[] = [];
  const seen = new Set<number>();
  let bytes = 0;
  for (const source of sources) {
    for (const path of filesBelow(source)) {
      if (bytes >= contentBytes) return { bytes, paths };
      const { size, ino } = lstatSync(path);
      if (size === 0 || size > largestFileBytes || seen.has(ino)) continue;
      seen.add(ino);
      linkOrCopy(path, join(stage, path));
      paths.push(path);
      bytes += size;
    }
  }
  return { bytes, paths };
}

/** The readable files of one file system below `folder`, names ascending. */
function* filesBelow(folder: string, device = lstatSync(folder).dev): Generator<string> {
  const entries = readdirSync(folder, { withFileTypes: true });
  const byName = (a: Dirent, b: Dirent) => (a.name < b.name ? -1 : 1);
  for (const entry of entries.sort(byName)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory() && lstatSync(path).dev === device) yield* filesBelow(path, device);
    else if (entry.isFile()) yield path;
  }
}

const made = new Set<string>();

function makeFolder(path: string): void {
  if (made.has(path)) return;
  mkdirSync(path, { recursive: true });
  made.add(path);
}

/** A link where that works (as root, on one file system): it costs no room and no time. */
function linkOrCopy(source: string, target: string): void {
  makeFolder(dirname(target));
  try {
    linkSync(source, target);
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK'].includes(systemErrorCode(error) ?? '')) throw error;
    copyFileSync(source, target);
  }
}

/** Repeats files with 16 bytes of every 4 KiB replaced by a keystream, until `wanted` bytes are made. */
function stageVaried(
  stage: string,
  paths: readonly string[],
  wanted: number,
): { bytes: number; files: number } {
  const key = createHash('sha256').update("the benchmark's disk").digest();
  const keystream = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const block = Buffer.alloc(16);
  let bytes = 0;
  let files = 0;
  for (let round = 1; bytes < wanted && paths.length > 0; round += 1) {
    for (const path of paths) {
      if (bytes >= wanted) break;
      const content = readFileSync(path);
      for (let offset = 0; offset < content.length; offset += 4 * KiB) {
        keystream.update(block).copy(content, offset);
      }
      const target = join(stage, `varied-${round}`, path);
      makeFolder(dirname(target));
      // linked files keep their owner's permissions; these are ours
      writeFileSync(target, content);
      bytes += content.length;
      files += 1;
    }
  }
  return { bytes, files };
}

/** The same content gives the same disk: fixed identifiers and times. */
async function makeFileSystem(stage: string, path: string, sizeBytes: number): Promise<void> {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
  const uuid = '6d61c2f0-5b0e-4b6e-9a55-7072696d6101';
  const fixed = ['-U', uuid, '-E', `hash_seed=${uuid},lazy_itable_init=0,lazy_journal_init=0,nodiscard`];
  await runProgram('/sbin/mke2fs', ['-q', '-t', 'ext4', '-L', 'prima-bench', ...fixed, '-d', stage, path], {
    timeoutMs: 900_000,
    env: { ...process.env, E2FSPROGS_FAKE_TIME: '1700000000' },
  });
}
