/** Raw disks: a file or a block special file whose bytes are the disk's bytes; see raw-file-device.ts. */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { assert, syncFolder, toPrimaError, UserError } from '@prima/base';
import type { WritableDevice } from './device.ts';
import { lockForWriting } from './file-lock.ts';
import { RawFile, type RawFileDevice, type RawFileFacts, WritableRawFile } from './raw-file-device.ts';
import { SEEK_HOLE, type SystemCalls, systemCalls } from './system-calls.ts';

export type { RawFileDevice } from './raw-file-device.ts';

export interface RawFileOptions {
  /** Default false; true when the file is created. */
  writable?: boolean;
  /**
   * Makes the file, sparse, mode 0600, its name durable. `size` in bytes, a multiple of 512.
   * `exclusive` (default true) raises `exists` where the name is taken; false empties what is there.
   */
  create?: { size: number; exclusive?: boolean };
}

export type WritableRawFileDevice = RawFileDevice & WritableDevice;

/**
 * Opens a raw disk. Read-only, a file whose size is not a multiple of 512 gets a device rounded UP to
 * one, whose last bytes read as zeros; to be written it is refused (`unsupported`).
 * Raises `not-found`, `permission`, `exists`, `no-space`, `unsupported` for what is neither a file nor
 * a block device; to be written, `busy` when somebody else writes it (file-lock.ts). Reads raise `source-changed` when the file has shrunk since.
 */
export async function openRawFile(
  path: string,
  options: RawFileOptions & ({ writable: true } | { create: { size: number; exclusive?: boolean } }),
): Promise<WritableRawFileDevice>;
export async function openRawFile(path: string, options?: RawFileOptions): Promise<RawFileDevice>;
export async function openRawFile(path: string, options: RawFileOptions = {}): Promise<RawFileDevice> {
  const { create } = options;
  const writable = options.writable ?? create !== undefined;
  assert(create === undefined || writable, 'a file that is created is writable');
  assertSize(create?.size ?? 0);
  try {
    const handle = create
      ? await createRawFile(path, create.size, create.exclusive ?? true)
      : await open(path, writable ? 'r+' : 'r');
    try {
      return await deviceOf(handle, path, writable);
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    throw toPrimaError(error, `opening the disk ${path}`);
  }
}

function assertSize(size: number): void {
  assert(
    Number.isSafeInteger(size) && size >= 0 && size % 512 === 0,
    `disk size ${size} is a multiple of 512`,
  );
}

/** Makes a file of `size` bytes, sparse, its name durable. */
export async function createRawFile(path: string, size: number, exclusive: boolean): Promise<FileHandle> {
  const { O_RDWR, O_CREAT, O_EXCL, O_TRUNC } = constants;
  const handle = await open(path, O_RDWR | O_CREAT | (exclusive ? O_EXCL : O_TRUNC), 0o600);
  try {
    await handle.truncate(size);
    await handle.sync();
    await syncFolder(dirname(path));
    return handle;
  } catch (error) {
    await handle.close();
    if (exclusive) await rm(path, { force: true });
    throw error;
  }
}

async function deviceOf(handle: FileHandle, path: string, writable: boolean): Promise<RawFileDevice> {
  const facts = await rawFileFacts(handle, path);
  const { fileSize } = facts;
  if (writable && fileSize % 512 !== 0) {
    throw new UserError(
      'unsupported',
      `${path} has ${fileSize} bytes, which is not a multiple of 512; it can be read but not be written as a disk`,
    );
  }
  if (writable && facts.calls) await lockForWriting(handle, path, facts.calls);
  return writable ? new WritableRawFile(facts) : new RawFile(facts);
}

/** What the devices over an open file need to know. Raises `unsupported` for what is no file and no block device. */
export async function rawFileFacts(handle: FileHandle, path: string): Promise<RawFileFacts> {
  const status = await handle.stat();
  if (!status.isFile() && !status.isBlockDevice()) {
    throw new UserError(
      'unsupported',
      `${path} is neither a file nor a block device; a raw disk is one of the two`,
    );
  }
  const fileSize = status.isFile() ? status.size : await blockDeviceSize(path);
  const system = await systemCalls();
  const calls = 'calls' in system ? system.calls : undefined;
  const extentsUnknown =
    'reason' in system ? system.reason : await holesUnknown(handle, system.calls, fileSize);
  const isDevice = status.isBlockDevice();
  return { handle, path, isDevice, fileSize, blockSize: 4096, calls, extentsUnknown };
}

/** Linux shows the size of a block device in 512-byte sectors, whatever its own sector size. */
async function blockDeviceSize(path: string): Promise<number> {
  const { rdev } = await stat(path);
  const major = Math.floor(rdev / 256) % 4096;
  const minor = (rdev % 256) + 256 * Math.floor(rdev / 2 ** 20);
  const sectors = Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8'));
  assert(Number.isSafeInteger(sectors * 512), `the kernel gives the size of ${path} as a number`);
  return sectors * 512;
}

async function holesUnknown(
  handle: FileHandle,
  calls: SystemCalls,
  size: number,
): Promise<string | undefined> {
  if (size === 0) return undefined;
  const { error } = await calls.lseek(handle.fd, 0, SEEK_HOLE);
  return error === undefined
    ? undefined
    : `lseek(SEEK_HOLE) is not supported here (${error}); block devices and some file systems have none`;
}
