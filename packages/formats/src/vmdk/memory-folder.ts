/** Virtual disks in memory: for tests, and for disks that are only passed on. */
import { posix } from 'node:path';
import { assertWithin, PrimaError, type Range, StorageError } from '@prima/base';
import { type Extent, type ExtentOptions, memoryDevice, type WritableDevice } from '@prima/block';
import { type DiskFolder, readOnlyFile, type WritableDiskFile } from './disk-file.ts';

export interface MemoryFolder extends DiskFolder {
  /** What is there, by path; a file may be put in or taken out. */
  readonly files: Map<string, WritableDiskFile>;
}

/** Files in memory. Every path is absolute; there is nothing outside of it that could be opened. */
export function memoryFolder(): MemoryFolder {
  const files = new Map<string, WritableDiskFile>();
  const find = (path: string): WritableDiskFile => {
    const file = files.get(path);
    if (file) return file;
    throw new StorageError('not-found', `${path} is not there`, { details: { path } });
  };
  const create = async (path: string, size: number) => {
    const file = Object.assign(memoryFile(path), { path });
    await file.resize(size);
    files.set(path, file);
    return file;
  };
  return {
    files,
    resolve: async (name, beside) => {
      const path = place(name, beside);
      find(path);
      return path;
    },
    open: async (path) => readOnlyFile(find(path)),
    openForWriting: async (path) => find(path),
    create: async (name, beside, size) => {
      const path = place(name, beside);
      if (files.has(path)) throw new StorageError('exists', `${path} is there already`);
      return create(path, size);
    },
    replace: async (path, body) => {
      const file = await create(path, 0);
      await file.write(0, body);
    },
    remove: async (path) => {
      files.delete(path);
    },
  };
}

function place(name: string, beside: string): string {
  if (name === '') throw new PrimaError('refused', `${beside} names a file without a name`);
  return posix.resolve(posix.dirname(beside), name);
}

/** A file in memory that holds only what was written. Closing it keeps its bytes. */
export function memoryFile(name: string): WritableDiskFile {
  return new MemoryFile(name);
}

class MemoryFile implements WritableDiskFile {
  readonly name: string;
  size = 0;
  readonly #bytes: WritableDevice = memoryDevice(2 ** 52);

  constructor(name: string) {
    this.name = name;
  }

  extents(range: Range, options?: ExtentOptions): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return this.#bytes.extents(range, options);
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    await this.#bytes.read(offset, into, signal);
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#bytes.write(offset, from, signal);
    this.size = Math.max(this.size, offset + from.length);
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    await this.#bytes.zero(range, signal);
  }

  async resize(size: number): Promise<void> {
    if (size < this.size) await this.#bytes.zero({ offset: size, length: this.size - size });
    this.size = size;
  }

  async allocate({ offset, length }: Range): Promise<void> {
    this.size = Math.max(this.size, offset + length);
  }

  async flush(): Promise<void> {
    // there is nothing more durable than memory here
  }

  async close(): Promise<void> {
    // the bytes stay, as those of a file do
  }
}
