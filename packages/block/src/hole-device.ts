/** A device with ranges that nobody wants: they read as zeros, and nothing is read there. */
import { assert, assertWithin, type Range, throwIfAborted } from '@prima/base';
import type { BlockDevice, Extent, ExtentOptions } from './device.ts';
import { mergeExtents } from './extents.ts';

/**
 * `device`, read-only, with `holes` (ascending, none overlapping another, within the device) reported as `hole` and read
 * as zeros. Closing it closes `device`.
 */
export function holeDevice(device: BlockDevice, holes: readonly Range[]): BlockDevice {
  let position = 0;
  for (const hole of holes) {
    assertWithin(hole, device.size);
    assert(hole.offset >= position, `holes ascend and do not overlap, at ${hole.offset}`);
    position = hole.offset + hole.length;
  }
  return new HoleDevice(device, holes);
}

class HoleDevice implements BlockDevice {
  readonly size: number;
  readonly blockSize: number;
  readonly #device: BlockDevice;
  readonly #holes: readonly Range[];

  constructor(device: BlockDevice, holes: readonly Range[]) {
    this.size = device.size;
    this.blockSize = device.blockSize;
    this.#device = device;
    this.#holes = holes;
  }

  extents(range: Range, options: ExtentOptions = {}): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return mergeExtents(this.#walk(range, options));
  }

  async *#walk(range: Range, options: ExtentOptions): AsyncGenerator<Extent> {
    for await (const { offset, length, kind } of this.#device.extents(range, options)) {
      for (const { hole, ...part } of this.#parts({ offset, length })) {
        yield { ...part, kind: hole ? 'hole' : kind };
      }
    }
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    throwIfAborted(signal, 'reading a disk without its free space');
    const parts = [...this.#parts({ offset, length: into.length })];
    const first = parts.find(({ hole }) => !hole);
    const last = parts.findLast(({ hole }) => !hole);
    if (first && last) {
      // in one piece: a small hole is cheaper to read over than to read around
      const target = into.subarray(first.offset - offset, last.offset + last.length - offset);
      await this.#device.read(first.offset, target, signal);
    }
    for (const part of parts) {
      if (part.hole) into.fill(0, part.offset - offset, part.offset + part.length - offset);
    }
  }

  /** `range` cut where holes begin and end. */
  *#parts({ offset, length }: Range): Generator<Range & { hole: boolean }> {
    const end = offset + length;
    let position = offset;
    for (let i = this.#firstEndingAfter(offset); position < end; i += 1) {
      const hole = this.#holes[i];
      const start = Math.min(hole?.offset ?? end, end);
      if (start > position) yield { offset: position, length: start - position, hole: false };
      position = Math.max(position, start);
      const stop = hole ? Math.min(hole.offset + hole.length, end) : end;
      if (hole && stop > position) yield { offset: position, length: stop - position, hole: true };
      position = Math.max(position, stop);
    }
  }

  #firstEndingAfter(offset: number): number {
    let [low, high] = [0, this.#holes.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const hole = this.#holes[middle];
      if (hole && hole.offset + hole.length <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  async close(): Promise<void> {
    await this.#device.close();
  }
}
