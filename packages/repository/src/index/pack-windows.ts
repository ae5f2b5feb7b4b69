/**
 * Reads blobs of packs, and where they are asked for in the order in which they lie, larger pieces at once: one request
 * for many chunks instead of one for each. Who reads here and there gets just what was asked for.
 */
import { MiB, SharedWork } from '@prima/base';
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

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** The bytes of the blob, in memory of its own. Raises what the store's `get` raises. */
  async get(range: BlobRange, options: StoreCallOptions): Promise<Uint8Array> {
    const { offset, length } = range;
    const window = this.#window(range);
    if (window) {
      try {
        return Uint8Array.prototype.slice.call(
          await window.bytes.wait(`reading ${range.key}`, options.signal),
          offset - window.offset,
          offset - window.offset + length,
        );
      } catch (error) {
        if (options.signal?.aborted) throw error;
        this.#readings.delete(range.key); // what is wrong with just this blob is what its own request tells
      }
    }
    return await this.#store.get(range.key, { offset, length }, options);
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
    const windowBytes = windowEnd - offset;
    const bytes = new SharedWork((signal) =>
      this.#store.get(key, { offset, length: windowBytes }, { signal }),
    );
    const window = { offset, end: windowEnd, bytes };
    reading.windows.push(window);
    if (reading.windows.length > windowsOfPack) reading.windows.shift();
    return window;
  }

  #reading(key: string, offset: number): Reading {
    const reading = this.#readings.get(key) ?? { next: startOfPack(offset), windowBytes: 0, windows: [] };
    this.#readings.delete(key);
    this.#readings.set(key, reading);
    const [oldest] = this.#readings.keys();
    if (this.#readings.size > packsRemembered && oldest !== undefined) this.#readings.delete(oldest);
    return reading;
  }
}

/** Who begins with a pack's first blob is likely to read it all; nobody else has shown anything yet. */
function startOfPack(offset: number): number {
  return offset < 64 ? offset : Number.POSITIVE_INFINITY;
}
