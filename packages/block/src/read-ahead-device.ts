/** A device that fetches what a sequential reader is going to ask for next. */
import { assert, assertWithin, MiB, type Range, settled, throwIfAborted } from '@prima/base';
import type { BlockDevice } from './device.ts';
import { filterDevice, type Wrapped } from './filter-device.ts';

export interface ReadAheadOptions {
  /** Bytes fetched by one read. Default 1 MiB. */
  windowBytes?: number;
  /** How many windows are fetched ahead of the reader. Default 4. */
  depth?: number;
}

/**
 * `device` with read-ahead for one sequential reader at a time (its calls may be several at once, if
 * they are made in ascending order); other reads go straight through. Holds at most `depth + 1`
 * windows, and those that calls under way still copy from. Closing it waits for what is being
 * fetched and closes `device`.
 */
export function readAheadDevice<D extends BlockDevice>(
  device: D,
  options: ReadAheadOptions = {},
): Wrapped<D> {
  const { windowBytes = MiB, depth = 4 } = options;
  assert(
    windowBytes >= 512 && windowBytes % 512 === 0,
    `a window of ${windowBytes} bytes is a multiple of 512`,
  );
  assert(Number.isInteger(depth) && depth > 0, `a depth of ${depth} is positive`);
  const inner: BlockDevice = device;
  const ahead = new ReadAhead(inner, windowBytes, depth);
  return filterDevice(device, {
    read: (offset, into, signal) => ahead.read(offset, into, signal),
    write: async (offset, from, signal) =>
      ahead.change({ offset, length: from.length }, async () => inner.write?.(offset, from, signal)),
    zero: async (range, signal) => ahead.change(range, async () => inner.zero?.(range, signal)),
    close: () => ahead.close(),
  });
}

/** The reader is taken to have moved elsewhere after so many reads that do not follow it. */
const missesToMove = 4;

class ReadAhead {
  readonly #device: BlockDevice;
  readonly #windowBytes: number;
  readonly #depth: number;
  /** By window number; fulfilled with undefined when fetching failed. */
  readonly #windows = new Map<number, Promise<Uint8Array | undefined>>();
  readonly #fetching = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  /** Where the followed reader goes on, where the last other read ended, and how many others there were. */
  #next = 0;
  #otherNext = -1;
  #misses = 0;

  constructor(device: BlockDevice, windowBytes: number, depth: number) {
    this.#device = device;
    this.#windowBytes = windowBytes;
    this.#depth = depth;
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.#device.size);
    throwIfAborted(signal, 'reading ahead');
    if (into.length === 0) return;
    if (!this.#follows(offset, into.length)) {
      await this.#device.read(offset, into, signal);
      return;
    }
    const first = Math.floor(offset / this.#windowBytes);
    const last = Math.floor((offset + into.length - 1) / this.#windowBytes);
    const parts: Promise<void>[] = [];
    for (let index = first; index <= last; index += 1) {
      const window = this.#window(index);
      const start = Math.max(offset, index * this.#windowBytes);
      const end = Math.min(offset + into.length, (index + 1) * this.#windowBytes);
      const target = into.subarray(start - offset, end - offset);
      parts.push(this.#copy(window, { index, start }, target, signal));
      this.#forget((other) => other < index || other > index + this.#depth);
    }
    for (let index = last + 1; index <= last + this.#depth; index += 1) this.#prefetch(index);
    await settled(parts);
    throwIfAborted(signal, 'reading ahead');
  }

  /** Whether this read is the followed reader's next one; otherwise it may become the one to follow. */
  #follows(offset: number, length: number): boolean {
    const end = offset + length;
    if (offset === this.#next) {
      this.#next = end;
      this.#misses = 0;
      return true;
    }
    this.#misses += 1;
    if (this.#misses >= missesToMove && offset === this.#otherNext) {
      this.#next = end;
      this.#misses = 0;
      return true;
    }
    this.#otherNext = end;
    return false;
  }

  #window(index: number): Promise<Uint8Array | undefined> {
    return this.#windows.get(index) ?? this.#fetch(index);
  }

  #prefetch(index: number): void {
    if (!this.#windows.has(index) && index * this.#windowBytes < this.#device.size) void this.#fetch(index);
  }

  /** Never rejects: who needs the window reads it again and gets the error. */
  #fetch(index: number): Promise<Uint8Array | undefined> {
    const offset = index * this.#windowBytes;
    const bytes = new Uint8Array(Math.min(this.#windowBytes, this.#device.size - offset));
    const window = this.#device.read(offset, bytes, this.#stop.signal).then(
      () => bytes,
      () => undefined,
    );
    this.#windows.set(index, window);
    this.#fetching.add(window);
    void window.then(() => this.#fetching.delete(window));
    return window;
  }

  async #copy(
    window: Promise<Uint8Array | undefined>,
    from: { index: number; start: number },
    target: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const bytes = await window;
    if (bytes === undefined) {
      if (this.#windows.get(from.index) === window) this.#windows.delete(from.index);
      await this.#device.read(from.start, target, signal);
      return;
    }
    const inside = from.start - from.index * this.#windowBytes;
    target.set(bytes.subarray(inside, inside + target.length));
  }

  #forget(which: (index: number) => boolean): void {
    for (const index of this.#windows.keys()) if (which(index)) this.#windows.delete(index);
  }

  /** Forgets the windows that a change touches, before (nobody may rely on them) and after (fetched meanwhile). */
  async change(range: Range, apply: () => Promise<void>): Promise<void> {
    const first = Math.floor(range.offset / this.#windowBytes);
    const last = Math.floor((range.offset + Math.max(range.length, 1) - 1) / this.#windowBytes);
    const touched = (index: number) => index >= first && index <= last;
    this.#forget(touched);
    try {
      await apply();
    } finally {
      this.#forget(touched);
    }
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#fetching);
    this.#windows.clear();
    await this.#device.close();
  }
}
