/** A sparse disk in memory, for tests and small things. */
import { assert, assertWithin, type Range, throwIfAborted } from '@prima/base';
import type { Extent, WritableDevice } from './device.ts';
import { mergeExtents } from './extents.ts';

const pageBytes = 4096;

/** A device of `size` bytes (a multiple of 512) that holds only the pages that were written. All zeros at first. */
export function memoryDevice(size: number): WritableDevice {
  assert(
    Number.isSafeInteger(size) && size >= 0 && size % 512 === 0,
    `disk size ${size} is a multiple of 512`,
  );
  return new MemoryDevice(size);
}

/** The part of a range that lies in one page. */
interface PagePart {
  page: number;
  /** Offset in the page, and offset from the start of the range. */
  start: number;
  done: number;
  length: number;
}

function* pageParts(offset: number, length: number): Generator<PagePart> {
  for (let done = 0; done < length; ) {
    const start = (offset + done) % pageBytes;
    const part = Math.min(pageBytes - start, length - done);
    yield { page: (offset + done - start) / pageBytes, start, done, length: part };
    done += part;
  }
}

class MemoryDevice implements WritableDevice {
  readonly size: number;
  readonly blockSize = pageBytes;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(size: number) {
    this.size = size;
  }

  extents(range: Range, options: { signal?: AbortSignal } = {}): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return mergeExtents(this.#walk(range, options.signal));
  }

  *#walk(range: Range, signal: AbortSignal | undefined): Generator<Extent> {
    const end = range.offset + range.length;
    const first = Math.floor(range.offset / pageBytes);
    const pages = [...this.#pages.keys()].filter((page) => page >= first && page * pageBytes < end);
    let position = range.offset;
    for (const page of pages.sort((a, b) => a - b)) {
      throwIfAborted(signal, 'listing the extents of a disk in memory');
      const start = Math.max(page * pageBytes, range.offset);
      const stop = Math.min((page + 1) * pageBytes, end);
      yield { offset: position, length: start - position, kind: 'hole' };
      yield { offset: start, length: stop - start, kind: 'data' };
      position = stop;
    }
    throwIfAborted(signal, 'listing the extents of a disk in memory');
    yield { offset: position, length: end - position, kind: 'hole' };
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    throwIfAborted(signal, 'reading a disk in memory');
    for (const { page, start, done, length } of pageParts(offset, into.length)) {
      const bytes = this.#pages.get(page);
      if (bytes) into.set(bytes.subarray(start, start + length), done);
      else into.fill(0, done, done + length);
    }
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    throwIfAborted(signal, 'writing a disk in memory');
    for (const { page, start, done, length } of pageParts(offset, from.length)) {
      let bytes = this.#pages.get(page);
      if (!bytes) {
        bytes = new Uint8Array(pageBytes);
        this.#pages.set(page, bytes);
      }
      bytes.set(from.subarray(done, done + length), start);
    }
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    throwIfAborted(signal, 'zeroing a disk in memory');
    for (const { page, start, length } of pageParts(range.offset, range.length)) {
      if (length === pageBytes) this.#pages.delete(page);
      else this.#pages.get(page)?.fill(0, start, start + length);
    }
  }

  async flush(): Promise<void> {
    // there is nothing more durable than memory here
  }

  async close(): Promise<void> {
    // the bytes stay, so that a test can look at what was written to a disk that its user has closed
  }
}
