/**
 * Reads blobs of packs, and where they are asked for in the order in which they lie, larger pieces at once: one request
 * for many chunks instead of one for each. Who reads here and there gets just what was asked for.
 */
import { MiB, pageMemory, SharedWork } from '@prima/base';
import type { ObjectStore, StoreCallOptions } from '@prima/storage';

export interface BlobRange {
  key: string;
  offset: number;
  length: number;
  /** Bytes of the whole pack. */
  packSize: number;
}

interface Window {
  offset: number;
  end: number;
  bytes: SharedWork<Uint8Array>;
  /** Where it is read into, if the store can. */
  memory: Uint8Array | undefined;
  /** Who reads it, and what is looking at its bytes. */
  users: number;
  /** Nobody finds it any more. */
  isGone: boolean;
}

/** How a pack is being read. */
interface Reading {
  /** Where the last blob that was asked for ends. */
  next: number;
  /** Of the window to come; 0 while nothing speaks for reading on. */
  windowBytes: number;
  windows: Window[];
}

/** Blobs that follow within this are read on to. */
const gapBytes = MiB;
const firstWindow = 2 * MiB;
const largestWindow = 8 * MiB;
/** Packs that are remembered, and windows of one of them: what is in memory has a bound of 64 MiB, in use half of it. */
const packsRemembered = 4;
const windowsOfPack = 2;

export class PackWindows {
  readonly #store: ObjectStore;
  /** By the pack's key, the longest unused first. */
  readonly #readings = new Map<string, Reading>();
  /** Memory of windows that are gone, for those to come. */
  readonly #spare: Uint8Array[] = [];

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /**
   * Has `look` look at the bytes of the blob. They are lent: shared memory that gets other bytes after `look` has settled, or
   * memory of their own, which may be given away. Raises what the store's `get` raises, and `look`.
   */
  async use<T>(
    range: BlobRange,
    options: StoreCallOptions,
    look: (bytes: Uint8Array) => Promise<T>,
  ): Promise<T> {
    const window = this.#window(range);
    if (window) {
      window.users += 1;
      try {
        const bytes = await this.#bytesOf(window, range, options);
        if (bytes) return await look(bytes);
      } finally {
        this.#leave(window);
      }
    }
    const { key, offset, length } = range;
    return await look(await this.#store.get(key, { offset, length }, options));
  }

  /** The blob in the window; undefined when the window cannot be read. */
  async #bytesOf(
    window: Window,
    { key, offset, length }: BlobRange,
    options: StoreCallOptions,
  ): Promise<Uint8Array | undefined> {
    try {
      const bytes = await window.bytes.wait(`reading ${key}`, options.signal);
      const start = offset - window.offset;
      if (bytes === window.memory) return bytes.subarray(start, start + length);
      return Uint8Array.prototype.slice.call(bytes, start, start + length);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      this.#forget(key); // what is wrong with just this blob is what its own request tells
      return undefined;
    }
  }

  /** The window that has the blob, a new one where the pack is being read on; undefined for a read by itself. */
  #window({ key, offset, length, packSize }: BlobRange): Window | undefined {
    const reading = this.#reading(key, offset);
    const end = offset + length;
    const known = reading.windows.find(
      (window) => offset >= window.offset && end <= window.end && !window.bytes.isAbandoned,
    );
    const follows = offset >= reading.next && offset - reading.next <= gapBytes;
    reading.next = Math.max(reading.next, end);
    if (known) return known;
    if (!follows) {
      reading.next = end;
      reading.windowBytes = 0;
      return undefined;
    }
    reading.windowBytes = Math.min(Math.max(reading.windowBytes * 2, firstWindow), largestWindow);
    const windowEnd = Math.min(Math.max(offset + reading.windowBytes, end), packSize);
    const window = this.#read(key, offset, windowEnd);
    reading.windows.push(window);
    if (reading.windows.length > windowsOfPack) this.#drop(reading.windows.shift());
    return window;
  }

  #read(key: string, offset: number, end: number): Window {
    const length = end - offset;
    const isLent = this.#store.readInto !== undefined && length <= largestWindow;
    const memory = isLent ? (this.#spare.pop() ?? pageMemory(largestWindow)).subarray(0, length) : undefined;
    const bytes = new SharedWork(async (signal) => {
      if (!memory) return await this.#store.get(key, { offset, length }, { signal });
      await this.#store.readInto?.(key, offset, memory, { signal });
      return memory;
    });
    const window: Window = { offset, end, bytes, memory, users: 1, isGone: false };
    void bytes.settled.then(() => this.#leave(window));
    return window;
  }

  #reading(key: string, offset: number): Reading {
    const reading = this.#readings.get(key) ?? { next: startOfPack(offset), windowBytes: 0, windows: [] };
    this.#readings.delete(key);
    this.#readings.set(key, reading);
    const [oldest] = this.#readings.keys();
    if (this.#readings.size > packsRemembered && oldest !== undefined) this.#forget(oldest);
    return reading;
  }

  #forget(key: string): void {
    for (const window of this.#readings.get(key)?.windows ?? []) this.#drop(window);
    this.#readings.delete(key);
  }

  #drop(window: Window | undefined): void {
    if (!window) return;
    window.isGone = true;
    this.#reuse(window);
  }

  #leave(window: Window): void {
    window.users -= 1;
    this.#reuse(window);
  }

  /** Its memory is for another one when nobody reads it, looks at it or can find it. */
  #reuse(window: Window): void {
    const { memory, users, isGone } = window;
    if (!memory || users > 0 || !isGone) return;
    window.memory = undefined;
    // fewer, and what is not kept waits for a collection of garbage: more memory, not less
    if (this.#spare.length < packsRemembered) this.#spare.push(new Uint8Array(memory.buffer));
  }
}

/** Who begins with a pack's first blob is likely to read it all; nobody else has shown anything yet. */
function startOfPack(offset: number): number {
  return offset < 64 ? offset : Number.POSITIVE_INFINITY;
}
