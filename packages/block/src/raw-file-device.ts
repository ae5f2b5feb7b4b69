/**
 * The devices behind `openRawFile` and `openGrowingFile`: an open file whose bytes are the disk's bytes.
 *
 * Reads and writes go through libuv's threads straight between the kernel and the caller's memory.
 * Holes are found with lseek(SEEK_DATA/SEEK_HOLE) and made with fallocate; where the file system or
 * the C library cannot, the whole file is one `data` extent (and `extentsUnknown` says why) and
 * zeros are written.
 */
import type { FileHandle } from 'node:fs/promises';
import {
  alignUp,
  assertWithin,
  DirectWriter,
  type Range,
  StorageError,
  throwIfAborted,
  toPrimaError,
  writeAt,
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
  systemError,
} from './system-calls.ts';

export interface RawFileDevice extends BlockDevice {
  /** Why `extents` calls everything data; undefined when holes are found. */
  readonly extentsUnknown: string | undefined;
}

export interface RawFileFacts {
  handle: FileHandle;
  path: string;
  isDevice: boolean;
  fileSize: number;
  blockSize: number;
  calls: SystemCalls | undefined;
  extentsUnknown: string | undefined;
}

export class RawFile implements RawFileDevice {
  readonly blockSize: number;
  readonly extentsUnknown: string | undefined;
  protected readonly facts: RawFileFacts;
  protected readonly inFlight: InFlight;

  constructor(facts: RawFileFacts) {
    this.facts = facts;
    this.blockSize = facts.blockSize;
    this.extentsUnknown = facts.extentsUnknown;
    this.inFlight = new InFlight(facts.path);
  }

  get size(): number {
    return alignUp(this.facts.fileSize, 512);
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

export class WritableRawFile extends RawFile implements WritableDevice {
  /** The ways to zero that are worth a try, best first. */
  #zeroModes = [FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE];

  readonly #direct: DirectWriter;
  #sinceWriteBack = 0;
  #writingBack = false;

  /** Raises when `range` is not where this file may be written. */
  protected assertWritable(range: Range): void {
    assertWithin(range, this.size);
  }

  constructor(facts: RawFileFacts) {
    super(facts);
    this.#direct = new DirectWriter(facts.handle, facts.isDevice);
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    this.assertWritable({ offset, length: from.length });
    throwIfAborted(signal, `writing ${this.facts.path}`);
    if (this.#sinceWriteBack >= writeBackBytes) this.#beginWriteBack();
    const { handle, path } = this.facts;
    await this.inFlight.run(async () => {
      await writeAt(handle, from, offset, this.#direct).catch((error: unknown) => {
        throw toPrimaError(error, `writing ${path} at ${offset}`);
      });
    });
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
      .catch(() => undefined) // `flush` tells
      .finally(() => (this.#writingBack = false));
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

  override async close(): Promise<void> {
    await using both = new AsyncDisposableStack();
    both.defer(() => this.#direct.close());
    both.defer(() => super.close());
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
