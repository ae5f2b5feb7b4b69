/**
 * A lock against a second writer, which QEMU knows and keeps, too. Its file driver (block/file-posix.c) holds shared
 * locks of the open file (fcntl(2), F_OFD_SETLK) on single bytes: 100 + n for each permission n that it uses, 200 + n
 * for each that it does not let others have; then it looks whether somebody else has one that goes against its own.
 * Permissions: 0 consistent reading, 1 writing, 3 changing the size.
 *
 * Who only reads takes no lock and may read beside a writer, as far as this is concerned. Where a file system has no
 * such locks, nothing is locked.
 */
import type { FileHandle } from 'node:fs/promises';
import { readdir, readFile, stat } from 'node:fs/promises';
import { PrimaError, systemErrorCode, toPrimaError } from '@prima/base';
import {
  F_OFD_GETLK,
  F_OFD_SETLK,
  F_RDLCK,
  F_UNLCK,
  F_WRLCK,
  type SystemCalls,
  systemError,
} from './system-calls.ts';

const usedBase = 100;
const unsharedBase = 200;
/** What a writer of a disk does, and what nobody else may do then. */
const used = [0, 1, 3];
const unshared = [1, 3];

const unknown: readonly string[] = [
  'EINVAL',
  'ENOLCK',
  'ENOSYS',
  'EOPNOTSUPP',
  'ENOTSUP',
  'ENOTTY',
  'EACCES',
];

/**
 * Locks a file that is open for writing, until it is closed. Raises `busy`, with who has it, when somebody writes to
 * it or wants it unchanged.
 */
export async function lockForWriting(handle: FileHandle, path: string, calls: SystemCalls): Promise<void> {
  const own = [...used.map((n) => usedBase + n), ...unshared.map((n) => unsharedBase + n)];
  for (const byte of own) {
    const { error } = await calls.lockByte(handle.fd, F_OFD_SETLK, { type: F_RDLCK, byte });
    if (error === 'EAGAIN') throw await busy(handle, path);
    if (error !== undefined && unknown.includes(error)) return;
    if (error !== undefined) throw toPrimaError(systemError('fcntl', error), `locking ${path}`);
  }
  const against = [...used.map((n) => unsharedBase + n), ...unshared.map((n) => usedBase + n)];
  for (const byte of against) {
    const { found, error } = await calls.lockByte(handle.fd, F_OFD_GETLK, { type: F_WRLCK, byte });
    if (error === undefined && found !== F_UNLCK) throw await busy(handle, path);
  }
}

async function busy(handle: FileHandle, path: string): Promise<PrimaError> {
  const holders = await holdersOf(handle);
  const who = holders.length === 0 ? 'another program' : holders.join(', ');
  return new PrimaError(
    'busy',
    `opening ${path} for writing: it is in use by ${who}, and two writers would destroy it; try again when that has ended`,
    { retryable: true, details: { path, holders } },
  );
}

/** Programs of this machine that hold such locks on the file, as far as we may see: `qemu-system-x86 (process 7)`. */
async function holdersOf(handle: FileHandle): Promise<string[]> {
  const { dev, ino } = await handle.stat();
  const holders: string[] = [];
  for (const process of await namesIn('/proc')) {
    if (!/^\d+$/.test(process)) continue;
    for (const fd of await namesIn(`/proc/${process}/fd`)) {
      // closed meanwhile, or not ours to see: then it is not named
      const file = await stat(`/proc/${process}/fd/${fd}`).catch(hidden(undefined));
      if (file?.ino !== ino || file.dev !== dev || isOwn(process, fd, handle)) continue;
      if (!/^lock:.*OFDLCK/m.test(await textOf(`/proc/${process}/fdinfo/${fd}`))) continue;
      holders.push(`${(await textOf(`/proc/${process}/comm`)).trim()} (process ${process})`);
      break;
    }
  }
  return holders;
}

function isOwn(process: string, fd: string, handle: FileHandle): boolean {
  return Number(process) === globalThis.process.pid && Number(fd) === handle.fd;
}

/** Processes end while one looks, and those of others are closed to us. */
async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch(hidden<string[]>([]));
}

async function textOf(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(hidden(''));
}

function hidden<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (systemErrorCode(error) === undefined) throw error;
    return instead;
  };
}
