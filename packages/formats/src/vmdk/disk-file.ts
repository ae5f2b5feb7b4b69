/**
 * The files that a virtual disk is made of, wherever they are: in a folder, in memory, on another device.
 * All of the VMDK code runs over these two interfaces.
 */
import type { Range } from '@prima/base';
import type { Extent, ExtentOptions } from '@prima/block';

export interface DiskFile {
  /** For messages. */
  readonly name: string;
  /** Bytes as of now, any number. */
  readonly size: number;
  /** What of `range` (within the size) is stored: `data`, `hole`, `zero`; ascending, gapless, merged. */
  extents(range: Range, options?: ExtentOptions): AsyncIterable<Extent>;
  /** Fills `into`, which lies within the size: the caller has looked. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface WritableDiskFile extends DiskFile {
  /** Anywhere; the file grows to hold it, and what lies between reads as zeros. */
  write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Within the size. */
  zero(range: Range, signal?: AbortSignal): Promise<void>;
  /** Cuts or grows the file; what is new reads as zeros. */
  resize(size: number): Promise<void>;
  /** Takes the room that `range` needs, where files may be without it; what it holds stays. */
  allocate(range: Range): Promise<void>;
  /** All that was written, and the size, is durable when it resolves. */
  flush(): Promise<void>;
}

/** Where files are found by the names that descriptors give. Paths are absolute, with `/`, and name one file each. */
export interface DiskFolder {
  /**
   * The path of what `name` means in the folder of the file at `beside`. Raises `refused` when it leads out of what
   * may be opened (through symbolic links too), `not-found` where nothing is there.
   */
  resolve(name: string, beside: string): Promise<string>;
  open(path: string): Promise<DiskFile>;
  /** Only where the folder can be written. */
  openForWriting(path: string): Promise<WritableDiskFile>;
  /** Makes `name` beside `beside`, `size` bytes of zeros; its path. Raises `exists`, `refused`. */
  create(name: string, beside: string, size: number): Promise<WritableDiskFile & { path: string }>;
  /** Replaces what the file at `path` holds: all of it or nothing, durable when it resolves. */
  replace(path: string, body: Uint8Array): Promise<void>;
  remove(path: string): Promise<void>;
}

/** `file` without its writing calls. Closing it closes `file`. */
export function readOnlyFile(file: DiskFile): DiskFile {
  return {
    name: file.name,
    get size() {
      return file.size;
    },
    extents: (range, options) => file.extents(range, options),
    read: (offset, into, signal) => file.read(offset, into, signal),
    close: () => file.close(),
  };
}

/** True for a file that is open for writing. */
export function isWritableFile(file: DiskFile): file is WritableDiskFile {
  return 'write' in file;
}
