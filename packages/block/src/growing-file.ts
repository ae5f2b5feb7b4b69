/**
 * Files that grow while they are open: what disk formats keep their tables and blocks in. Everything else is
 * as with a raw disk (raw-file-device.ts), of which this is one whose size is in bytes and changes.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { assert, assertWithin, type Range, toPrimaError, UserError } from '@prima/base';
import type { Extent, ExtentOptions } from './device.ts';
import { lockForWriting } from './file-lock.ts';
import { createRawFile, rawFileFacts } from './raw-file.ts';
import { RawFile, WritableRawFile } from './raw-file-device.ts';
import { systemError } from './system-calls.ts';

export interface GrowingFileOptions {
  /** Default false; true when the file is created. */
  writable?: boolean;
  /** Makes the file, `size` bytes of zeros, its name durable; raises `exists` where the name is taken. */
  create?: { size: number };
}

export interface GrowingFile {
  readonly path: string;
  /** Bytes, as of now; any number. */
  readonly size: number;
  /** `data` and `hole`, as the file system tells. */
  extents(range: Range, options?: ExtentOptions): AsyncIterable<Extent>;
  /** Fills `into`; what lies beyond the end is a mistake of the caller. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Writes anywhere; the file grows to hold it, and what lies between reads as zeros. */
  write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void>;
  zero(range: Range, signal?: AbortSignal): Promise<void>;
  /** Cuts or grows the file; what is new reads as zeros. Nothing else may be under way beyond the smaller size. */
  resize(size: number): Promise<void>;
  /** Takes the room that `range` needs from the file system, which `no-space` may be the answer to; bytes stay as they are. */
  allocate(range: Range): Promise<void>;
  /** Everything written before, and the size, is durable when it resolves. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file. A read-only one raises `internal` when it is written. Raises `not-found`, `permission`, `exists`,
 * `busy` for one that somebody else writes (file-lock.ts), `no-space`, `unsupported` for what is neither a file nor a block device.
 */
export async function openGrowingFile(path: string, options: GrowingFileOptions = {}): Promise<GrowingFile> {
  const { create, writable = create !== undefined } = options;
  assert(create === undefined || writable, 'a file that is created is writable');
  try {
    const handle = create
      ? await createRawFile(path, create.size, true)
      : await open(path, writable ? 'r+' : 'r');
    try {
      return await fileOf(handle, path, writable);
    } catch (error) {
      await handle.close();
      throw error;
    }
  } catch (error) {
    throw toPrimaError(error, `opening ${path}`);
  }
}

async function fileOf(handle: FileHandle, path: string, writable: boolean): Promise<GrowingFile> {
  const facts = await rawFileFacts(handle, path);
  if (writable && facts.calls) await lockForWriting(handle, path, facts.calls);
  if (writable) return new WritableGrowingFile(facts);
  const file = new RawFile(facts);
  const refuse = (): Promise<never> => {
    throw new UserError('internal', `${path} is open for reading only`);
  };
  return {
    path,
    size: facts.fileSize,
    extents: (range, extentOptions) => file.extents(range, extentOptions),
    read: (offset, into, signal) => file.read(offset, into, signal),
    write: refuse,
    zero: refuse,
    resize: refuse,
    allocate: refuse,
    flush: refuse,
    close: () => file.close(),
  };
}

class WritableGrowingFile extends WritableRawFile implements GrowingFile {
  get path(): string {
    return this.facts.path;
  }

  override get size(): number {
    return this.facts.fileSize;
  }

  protected override assertWritable({ offset, length }: Range): void {
    assertWithin({ offset, length }, Number.MAX_SAFE_INTEGER);
  }

  override async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    await super.write(offset, from, signal);
    this.facts.fileSize = Math.max(this.facts.fileSize, offset + from.length);
  }

  async allocate({ offset, length }: Range): Promise<void> {
    const { calls, handle, path } = this.facts;
    if (calls === undefined || length === 0) return;
    const { error } = await this.inFlight.run(() => calls.fallocate(handle.fd, 0, offset, length));
    // a file system that cannot promise room has done what it can
    if (error === undefined || error === 'EOPNOTSUPP' || error === 'ENOSYS') {
      if (error === undefined) this.facts.fileSize = Math.max(this.facts.fileSize, offset + length);
      return;
    }
    throw toPrimaError(systemError('fallocate', error), `allocating ${length} bytes for ${path}`);
  }

  async resize(size: number): Promise<void> {
    const { handle, path } = this.facts;
    await this.inFlight.run(async () => {
      await handle.truncate(size).catch((error: unknown) => {
        throw toPrimaError(error, `giving ${path} a size of ${size} bytes`);
      });
    });
    this.facts.fileSize = size;
  }
}
