/**
 * Raw disks: a file or a block special file whose bytes are the disk's bytes.
 *
 * Reads and writes go through libuv's threads straight between the kernel and the caller's memory.
 * Holes are found with lseek(SEEK_DATA/SEEK_HOLE) and made with fallocate; where the file system or
 * the C library cannot, the whole file is one `data` extent (and `extentsUnknown` says why) and
 * zeros are written.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  alignUp,
  assert,
  assertWithin,
  type Range,
  StorageError,
  syncFolder,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import type { BlockDevice, Extent, ExtentOptions, WritableDevice } from './device.ts';
import { mergeExtents } from './extents.ts';
import { InFlight } from './in-flight.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  SEEK_DATA,
  SEEK_HOLE,
  SYNC_FILE_RANGE_WRITE,
  type SystemCalls,
  systemCalls,
  systemError,
} from './system-calls.ts';

export interface RawFileOptions {
  /** Default false; true when the file is created. */
  writable?: boolean;
  /**
   * Makes the file, sparse, mode 0600, its name durable. `size` in bytes, a multiple of 512.
   * `exclusive` (default true) raises `exists` where the name is taken; false empties what is there.
   */
  create?: { size: number; exclusive?: boolean };
}

export interface RawFileDevice extends BlockDevice {
  /** Why `extents` calls everything data; undefined when holes are found. */
  readonly extentsUnknown: string | undefined;
}

export type WritableRawFileDevice = RawFileDevice & WritableDevice;

/**
 * Opens a raw disk. Read-only, a file whose size is not a multiple of 512 gets a device rounded UP to
 * one, whose last bytes read as zeros; to be written it is refused (`unsupported`).
 * Raises `not-found`, `permission`, `exists`, `no-space`, `unsupported` for what is neither a file nor
 * a block device. Reads raise `source-changed` when the file has shrunk since.
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

async function createRawFile(path: string, size: number, exclusive: boolean): Promise<FileHandle> {
  assert(
    Number.isSafeInteger(size) && size >= 0 && size % 512 === 0,
    `disk size ${size} is a multiple of 512`,
  );
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
  const status = await handle.stat();
  if (!status.isFile() && !status.isBlockDevice()) {
    throw new UserError(
      'unsupported',
      `${path} is neither a file nor a block device; a raw disk is one of the two`,
    );
  }
  const fileSize = status.isFile() ? status.size : await blockDeviceSize(path);
  if (writable && fileSize % 512 !== 0) {
    throw new UserError(
      'unsupported',
      `${path} has ${fileSize} bytes, which is not a multiple of 512; it can be read but not be written as a disk`,
    );
  }
  const system = await systemCalls();
  const calls = 'calls' in system ? system.calls : undefined;
  const extentsUnknown =
    'reason' in system ? system.reason : await holesUnknown(handle, system.calls, fileSize);
  const facts = { handle, path, fileSize, blockSize: 4096, calls, extentsUnknown };
  return writable ? new WritableRawFile(facts) : new RawFile(facts);
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

interface RawFileFacts {
  handle: FileHandle;
  path: string;
  fileSize: number;
  blockSize: number;
  calls: SystemCalls | undefined;
  extentsUnknown: string | undefined;
}

class RawFile implements RawFileDevice {
  readonly size: number;
  readonly blockSize: number;
  readonly extentsUnknown: string | undefined;
  protected readonly facts: RawFileFacts;
  protected readonly inFlight: InFlight;

  constructor(facts: RawFileFacts) {
    this.facts = facts;
    this.size = alignUp(facts.fileSize, 512);
    this.blockSize = facts.blockSize;
    this.extentsUnknown = facts.extentsUnknown;
    this.inFlight = new InFlight(facts.path);
  }

  extents(range: Range, options: ExtentOptions = {}): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return mergeExtents(this.#walk(range, options.signal));
  }

  async *#walk(range: Range, signal: AbortSignal | undefined): AsyncGenerator<Extent> {
    const end = range.offset + range.length;
    for (let position = range.offset; position < end; ) {
      throwIfAborted(signal, `listing the extents of ${this.facts.path}`);
      const data = await this.#seek(position, SEEK_DATA, end);
      yield { offset: position, length: data - position, kind: 'hole' };
      if (data >= end) break;
      const hole = await this.#seek(data, SEEK_HOLE, end);
      yield { offset: data, length: hole - data, kind: 'data' };
      position = hole;
    }
  }

  /** Where the next data or hole begins, at most `end`. Says "data up to the end" when it is in doubt. */
  async #seek(from: number, whence: number, end: number): Promise<number> {
    const { calls, handle, path, fileSize } = this.facts;
    const inDoubt = whence === SEEK_DATA ? from : end;
    if (calls === undefined || this.extentsUnknown !== undefined) return inDoubt;
    const { value, error } = await this.inFlight.run(() => calls.lseek(handle.fd, from, whence));
    // ENXIO: no data from here on; the file has shrunk when it is not so for holes, and reading will tell
    if (error === 'ENXIO') return end;
    if (error === 'EINVAL' || error === 'EOPNOTSUPP') return inDoubt;
    if (error !== undefined) throw toPrimaError(systemError('lseek', error), `looking for holes in ${path}`);
    if (whence === SEEK_HOLE && (value >= fileSize || value <= from)) return end;
    return Math.min(Math.max(value, from), end);
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    throwIfAborted(signal, `reading ${this.facts.path}`);
    const wanted = Math.max(0, Math.min(into.length, this.facts.fileSize - offset));
    await this.inFlight.run(() => this.#readFully(offset, into, wanted));
    into.fill(0, wanted);
  }

  async #readFully(offset: number, into: Uint8Array, wanted: number): Promise<void> {
    const { handle, path, fileSize } = this.facts;
    for (let done = 0; done < wanted; ) {
      const at = offset + done;
      const { bytesRead } = await handle.read(into, done, wanted - done, at).catch((error: unknown) => {
        throw toPrimaError(error, `reading ${path} at ${at}`);
      });
      if (bytesRead === 0) {
        throw new StorageError(
          'source-changed',
          `reading ${path}: it ended at ${at}, but had ${fileSize} bytes when it was opened`,
          {
            details: { path, offset: at, size: fileSize },
          },
        );
      }
      done += bytesRead;
    }
  }

  async close(): Promise<void> {
    await this.inFlight.close(() => this.facts.handle.close());
  }
}

const zeros = new Uint8Array(1024 * 1024);
/** The file system cannot do this at all; EINVAL is about this one range. */
const never: readonly string[] = ['EOPNOTSUPP', 'ENOSYS', 'ENODEV'];
/** Bytes written after which the kernel is asked to begin with them, so that a flush finds little left to do. */
const writeBackBytes = 32 * 1024 * 1024;

class WritableRawFile extends RawFile implements WritableDevice {
  /** The ways to zero that are worth a try, best first. */
  #zeroModes = [FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE];

  #sinceWriteBack = 0;
  #writingBack = false;

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    throwIfAborted(signal, `writing ${this.facts.path}`);
    if (this.#sinceWriteBack >= writeBackBytes) this.#beginWriteBack();
    await this.inFlight.run(() => this.#writeFully(offset, from));
    this.#sinceWriteBack += from.length;
  }

  /** Only a hint to the kernel, which nothing waits for: what fails here fails again, and is told, in `flush`. */
  #beginWriteBack(): void {
    const { calls, handle } = this.facts;
    if (calls === undefined || this.#writingBack) return;
    this.#sinceWriteBack = 0;
    this.#writingBack = true;
    this.inFlight
      .run(() => calls.syncFileRange(handle.fd, 0, 0, SYNC_FILE_RANGE_WRITE))
      .catch(() => undefined)
      .finally(() => (this.#writingBack = false));
  }

  async #writeFully(offset: number, from: Uint8Array): Promise<void> {
    const { handle, path } = this.facts;
    for (let done = 0; done < from.length; ) {
      const { bytesWritten } = await handle
        .write(from, done, from.length - done, offset + done)
        .catch((error: unknown) => {
          throw toPrimaError(error, `writing ${path} at ${offset + done}`);
        });
      done += bytesWritten;
    }
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    throwIfAborted(signal, `zeroing ${this.facts.path}`);
    if (range.length === 0 || (await this.inFlight.run(() => this.#fallocateZeros(range)))) return;
    const end = range.offset + range.length;
    for (let offset = range.offset; offset < end; offset += zeros.length) {
      await this.write(offset, zeros.subarray(0, Math.min(zeros.length, end - offset)), signal);
    }
  }

  async #fallocateZeros(range: Range): Promise<boolean> {
    const { calls, handle, path } = this.facts;
    if (calls === undefined) return false;
    for (const mode of this.#zeroModes) {
      const { error } = await calls.fallocate(handle.fd, mode, range.offset, range.length);
      if (error === undefined) return true;
      if (never.includes(error)) this.#zeroModes = this.#zeroModes.filter((other) => other !== mode);
      else if (error !== 'EINVAL') {
        throw toPrimaError(systemError('fallocate', error), `zeroing ${path} at ${range.offset}`);
      }
    }
    return false;
  }

  async flush(): Promise<void> {
    const { handle, path } = this.facts;
    await this.inFlight.run(async () => {
      await handle.datasync().catch((error: unknown) => {
        throw toPrimaError(error, `flushing ${path}`);
      });
    });
  }
}
