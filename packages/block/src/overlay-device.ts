/**
 * A device over a base that is never written: what is written goes to a second device, and a bitmap
 * remembers which blocks are there. Blocks that are written in part are first copied up.
 */
import {
  alignDown,
  assert,
  assertWithin,
  forEachBounded,
  KiB,
  type Range,
  throwIfAborted,
} from '@prima/base';
import { Bitmap } from './bitmap.ts';
import type { BlockDevice, Extent, ExtentOptions, WritableDevice } from './device.ts';
import { mergeExtents } from './extents.ts';

export interface OverlayOptions {
  /** Bytes per block of the bitmap, a power of two, at least 512. Default 64 KiB. */
  granularity?: number;
}

/**
 * `base` as it is, with writes kept in `top` (at least as large; what it holds at first does not
 * matter). A crash loses what was written: the bitmap is in memory, one bit per block. Closing it
 * closes both.
 */
export function overlayDevice(
  base: BlockDevice,
  top: WritableDevice,
  options: OverlayOptions = {},
): WritableDevice {
  const { granularity = 64 * KiB } = options;
  assert(granularity >= 512 && Number.isInteger(Math.log2(granularity)), `${granularity} is a power of two`);
  assert(top.size >= base.size, `the top's ${top.size} bytes can hold the base's ${base.size}`);
  return new OverlayDevice(base, top, granularity);
}

/** How many reads of the parts of one read are under way at once. */
const readConcurrency = 8;

class OverlayDevice implements WritableDevice {
  readonly size: number;
  readonly blockSize: number;
  readonly #base: BlockDevice;
  readonly #top: WritableDevice;
  readonly #granularity: number;
  readonly #inTop: Bitmap;
  /** Blocks that are being copied up; who writes to another part of one waits for it. */
  readonly #copying = new Map<number, Promise<void>>();

  constructor(base: BlockDevice, top: WritableDevice, granularity: number) {
    this.size = base.size;
    this.blockSize = Math.max(base.blockSize, top.blockSize);
    this.#base = base;
    this.#top = top;
    this.#granularity = granularity;
    this.#inTop = new Bitmap(Math.ceil(base.size / granularity));
  }

  extents(range: Range, options: ExtentOptions = {}): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return mergeExtents(this.#walk(range, options));
  }

  async *#walk(range: Range, options: ExtentOptions): AsyncGenerator<Extent> {
    for (const { top, ...part } of this.#parts(range)) {
      yield* (top ? this.#top : this.#base).extents(part, options);
    }
  }

  /** `range` cut where the bytes change their place. */
  *#parts(range: Range): Generator<Range & { top: boolean }> {
    const end = range.offset + range.length;
    const unit = this.#granularity;
    const runs = this.#inTop.runs(Math.floor(range.offset / unit), Math.ceil(end / unit));
    for (const { first, end: stop, set } of range.length === 0 ? [] : runs) {
      const offset = Math.max(first * unit, range.offset);
      yield { offset, length: Math.min(stop * unit, end) - offset, top: set };
    }
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    throwIfAborted(signal, 'reading an overlay');
    const parts = [...this.#parts({ offset, length: into.length })];
    const readPart = async (part: Range & { top: boolean }, inner: AbortSignal | undefined) => {
      const start = part.offset - offset;
      const target = into.subarray(start, start + part.length);
      await (part.top ? this.#top : this.#base).read(part.offset, target, inner);
    };
    const [only] = parts;
    if (only !== undefined && parts.length === 1) await readPart(only, signal);
    else await forEachBounded(parts, readConcurrency, readPart, signal);
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    await this.#change({ offset, length: from.length }, signal, {
      direct: (part) =>
        this.#top.write(
          part.offset,
          from.subarray(part.offset - offset, part.offset - offset + part.length),
          signal,
        ),
      merge: (part, into) =>
        into.set(from.subarray(part.offset - offset, part.offset - offset + part.length)),
    });
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    await this.#change(range, signal, {
      direct: (part) => this.#top.zero(part, signal),
      merge: (_part, into) => into.fill(0),
    });
  }

  /** Applies a change: whole blocks at once, the partial ones at both ends by copying them up. */
  async #change(range: Range, signal: AbortSignal | undefined, change: Change): Promise<void> {
    throwIfAborted(signal, 'writing an overlay');
    const end = range.offset + range.length;
    const unit = this.#granularity;
    let from = range.offset;
    if (range.length > 0 && !this.#coversBlock(from, range)) {
      const stop = Math.min(alignDown(from, unit) + unit, end);
      await this.#changePart({ offset: from, length: stop - from }, signal, change);
      from = stop;
    }
    let to = end;
    if (to > from && !this.#coversBlock(to - 1, range)) to = alignDown(to, unit);
    if (to > from) {
      await change.direct({ offset: from, length: to - from });
      this.#inTop.add(from / unit, Math.ceil(to / unit));
    }
    if (end > to) await this.#changePart({ offset: to, length: end - to }, signal, change);
  }

  /** True when `range` covers the whole block that `offset` is in (the last block may be short). */
  #coversBlock(offset: number, range: Range): boolean {
    const start = alignDown(offset, this.#granularity);
    const stop = Math.min(start + this.#granularity, this.size);
    return range.offset <= start && range.offset + range.length >= stop;
  }

  /** Applies a change to a part of one block. */
  async #changePart(part: Range, signal: AbortSignal | undefined, change: Change): Promise<void> {
    const block = Math.floor(part.offset / this.#granularity);
    for (;;) {
      if (this.#inTop.has(block)) {
        await change.direct(part);
        return;
      }
      const other = this.#copying.get(block);
      if (other === undefined) break;
      await other.catch(() => undefined); // its own caller is told
    }
    const copy = this.#copyUp(block, part, signal, change).finally(() => this.#copying.delete(block));
    this.#copying.set(block, copy);
    await copy;
  }

  async #copyUp(block: number, part: Range, signal: AbortSignal | undefined, change: Change): Promise<void> {
    const start = block * this.#granularity;
    const bytes = new Uint8Array(Math.min(this.#granularity, this.size - start));
    await this.#base.read(start, bytes, signal);
    const inside = part.offset - start;
    change.merge(part, bytes.subarray(inside, inside + part.length));
    await this.#top.write(start, bytes, signal);
    this.#inTop.add(block, block + 1);
  }

  async flush(): Promise<void> {
    await this.#top.flush();
  }

  async close(): Promise<void> {
    await using both = new AsyncDisposableStack();
    both.defer(() => this.#base.close());
    both.defer(() => this.#top.close());
  }
}

/** What is done to a range: directly in the top, or to the bytes of a block that is copied up. */
interface Change {
  direct(part: Range): Promise<void>;
  merge(part: Range, into: Uint8Array): void;
}
