/**
 * The tiny guest: a Linux of some 10 MB that boots to its agent in seconds without KVM, with a program in it
 * that keeps writing records it can check later. Built once from Debian's packages and cached.
 */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type Logger,
  MiB,
  runProgram,
  silentLogger,
  temporaryPrefix,
  UserError,
  statIfThere,
} from '@prima/base';
import { testbedCache } from '../cache-folder.ts';
import { ensureDebianPackages, packagesFor } from '../debian-packages.ts';
import { lockFile } from '../file-lock.ts';
import { buildGuestFiles, type GuestManifest, guestFiles } from './build.ts';

/** What the guest does; each becomes a kernel argument. */
export interface GuestArguments {
  /** The root disk's device in the guest. Default `/dev/vda`; `null` runs the guest from memory. */
  root?: string | null;
  /** A device with an ext4 file system to mount as /data; without it /data is on the root disk. */
  data?: string;
  /** Runs write-records in /data. */
  write?: boolean;
  /** More arguments, as they are. */
  extra?: string;
}

export interface TinyGuest {
  /** The kernel as ELF, for QEMU's -kernel (started by PVH). */
  readonly kernel: string;
  /** For QEMU's -initrd. */
  readonly initrd: string;
  /** The kernel modules it loads, in order. */
  readonly modules: readonly string[];
  /** The version of Debian's kernel, `6.1.0-…-cloud-amd64`. */
  readonly kernelVersion: string;
  /** For QEMU's -append. */
  kernelArguments(options?: GuestArguments): string;
  /**
   * Makes a raw root disk (ext4 with a journal on the whole disk, sparse) at `path`; raises `exists` when
   * something is there.
   * @param sizeBytes at least 64 MiB; default 128 MiB
   */
  rootDisk(path: string, sizeBytes?: number): Promise<void>;
  /** Makes a raw disk with an empty ext4 at `path`, for `data`; at least 32 MiB, default 64 MiB. */
  dataDisk(path: string, sizeBytes?: number): Promise<void>;
}

export interface TinyGuestOptions {
  /** Where it is built and kept. Default `testbedCache()`. */
  cacheFolder?: string;
  log?: Logger;
}

/**
 * Builds the guest, or finds it in the cache: a second or two the first time (and a download of 27 MB),
 * nothing afterwards. Safe to call from several processes at once. Raises `missing-program` when packages are
 * missing and cannot be installed, `unsupported` on another processor than x86-64.
 */
export async function buildTinyGuest(options: TinyGuestOptions = {}): Promise<TinyGuest> {
  const { log = silentLogger } = options;
  if (process.arch !== 'x64') {
    throw new UserError('unsupported', `the tiny guest is built on x86-64 only, this is ${process.arch}`);
  }
  const cache = options.cacheFolder ?? (await testbedCache());
  await mkdir(cache, { recursive: true });
  const folder = join(cache, `guest-${await recipeKey()}`);
  if (!(await exists(folder))) {
    await ensureDebianPackages(packagesFor('guest'), { log });
    await using _lock = await lockFile(join(cache, 'guest.lock'));
    if (!(await exists(folder))) await buildInto(folder, log);
  }
  return openGuest(folder);
}

/** Changes whenever what is built would: the recipe and the system whose libraries and busybox go in. */
async function recipeKey(): Promise<string> {
  const hash = createHash('sha256');
  const names = await readdir(guestFiles, { recursive: true, withFileTypes: true });
  const recipe = names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const code = ['build.ts', 'kernel.ts', 'modules.ts'].map((name) => join(import.meta.dirname, name));
  for (const path of ['/etc/os-release', ...code, ...recipe.sort()]) {
    hash.update(`${basename(path)}\0`).update(await readFile(path));
  }
  return hash.digest('hex').slice(0, 16);
}

async function buildInto(folder: string, log: Logger): Promise<void> {
  log.info('building the tiny guest');
  const cache = dirname(folder);
  for (const name of await readdir(cache)) {
    // left by a build that was killed; the lock says that no other is under way
    if (name.startsWith(`${temporaryPrefix}guest-`)) await rm(join(cache, name), { recursive: true });
  }
  const downloads = join(cache, 'downloads');
  await mkdir(downloads, { recursive: true });
  const target = await mkdtemp(join(cache, `${temporaryPrefix}guest-`));
  try {
    await buildGuestFiles({ downloads, target, log });
    await rm(join(target, 'work'), { recursive: true });
    await rename(target, folder);
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw error;
  }
}

async function openGuest(folder: string): Promise<TinyGuest> {
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8')) as GuestManifest;
  return {
    kernel: join(folder, 'kernel'),
    initrd: join(folder, 'initrd'),
    modules: manifest.modules,
    kernelVersion: manifest.kernelVersion,
    kernelArguments,
    rootDisk: (path, sizeBytes = 128 * MiB) =>
      makeExt4(path, { sizeBytes, label: 'prima-root', from: join(folder, 'root') }),
    dataDisk: (path, sizeBytes = 64 * MiB) => makeExt4(path, { sizeBytes, label: 'prima-data' }),
  };
}

/** What makes the boot quick in software emulation. */
const quickBoot =
  'console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on rodata=off noreplace-smp';

function kernelArguments(options: GuestArguments = {}): string {
  const { root = '/dev/vda', data, write, extra } = options;
  const own = [
    root === null ? '' : `prima.root=${root}`,
    data === undefined ? '' : `prima.data=${data}`,
    write ? 'prima.write=1' : '',
    extra ?? '',
  ];
  return [quickBoot, ...own].filter(Boolean).join(' ');
}

async function makeExt4(
  path: string,
  make: { sizeBytes: number; label: string; from?: string },
): Promise<void> {
  const file = await open(path, 'wx').catch((error: unknown) => {
    throw new UserError('exists', `making the disk ${path}: it cannot be made new`, { cause: error });
  });
  try {
    await file.truncate(make.sizeBytes);
  } finally {
    await file.close();
  }
  // nothing is left for the guest's kernel to initialise later: an idle guest writes nothing
  const eager = 'lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0';
  const content = make.from === undefined ? [] : ['-d', make.from];
  const mke2fs = ['-q', '-t', 'ext4', '-b', '4096', '-J', 'size=4', '-E', eager, '-L', make.label];
  try {
    await runProgram('/sbin/mke2fs', [...mke2fs, ...content, path]);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return (await statIfThere(path)) !== undefined;
}
