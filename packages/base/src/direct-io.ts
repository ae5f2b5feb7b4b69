/**
 * Writing past the page cache (O_DIRECT of open(2)): what a backup or a restore writes is not read again soon, so a copy
 * of it in the kernel costs processor time and drives out what others have there. Used for large pieces in memory that
 * begins at a page, on file systems that do it well; everything else is written as ever.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, statfs } from 'node:fs/promises';
import { alignDown } from './bytes.ts';
import { systemErrorCode } from './errors.ts';

/** Memory, offset and length of a direct write are multiples of this; no disk's logical block is larger. */
const directAlignment = 4096;
/** Smaller pieces are better off in the page cache, which gathers them. */
const leastDirectBytes = 256 * 1024;
/** ext4 and XFS, by f_type of statfs(2). Others copy all the same, wait for a server, or check sums of the memory. */
const directTypes: readonly number[] = [0xef53, 0x58465342];

/** Shared memory that begins at a page: what can grow is mapped by itself, though this never does. */
export function pageMemory(length: number): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(new SharedArrayBuffer(length, { maxByteLength: length }), 0, length);
}

/** A second way into a file that is open for writing. */
export class DirectWriter {
  /** The file by its descriptor, whatever its name is by now (proc(5)). */
  readonly #path: string;
  readonly #isDevice: boolean;
  #handle: Promise<FileHandle | undefined> | undefined;
  #refused = false;

  /** @param handle open until `close` was called */
  constructor(handle: FileHandle, isDevice: boolean) {
    this.#path = `/proc/self/fd/${handle.fd}`;
    this.#isDevice = isDevice;
  }

  /**
   * Writes the beginning of `bytes` at `offset` of the file.
   * @returns how many bytes, a part of them or 0: the caller writes the rest in the usual way
   */
  async write(bytes: Uint8Array, offset: number): Promise<number> {
    const length = alignDown(bytes.length, directAlignment);
    if (this.#refused || length < leastDirectBytes || !isAligned(bytes, offset)) return 0;
    this.#handle ??= this.#open();
    const handle = await this.#handle;
    if (!handle) return 0;
    try {
      return (await handle.write(bytes, 0, length, offset)).bytesWritten;
    } catch (error) {
      if (systemErrorCode(error) !== 'EINVAL') throw error;
      this.#refused = true; // the disk wants another alignment
      return 0;
    }
  }

  async close(): Promise<void> {
    const handle = await this.#handle;
    this.#handle = undefined;
    this.#refused = true;
    await handle?.close();
  }

  async #open(): Promise<FileHandle | undefined> {
    try {
      if (!this.#isDevice && !directTypes.includes((await statfs(this.#path)).type)) return undefined;
      return await open(this.#path, constants.O_WRONLY | constants.O_DIRECT);
    } catch (error) {
      // no such thing here, no /proc, or no right to open it a second time: the caller's own way is left
      if (['EINVAL', 'ENOENT', 'EACCES', 'EPERM'].includes(systemErrorCode(error) ?? '')) return undefined;
      throw error;
    }
  }
}

function isAligned(bytes: Uint8Array, offset: number): boolean {
  const { buffer, byteOffset } = bytes;
  const isPaged = buffer instanceof SharedArrayBuffer && buffer.growable;
  return isPaged && byteOffset % directAlignment === 0 && offset % directAlignment === 0;
}
