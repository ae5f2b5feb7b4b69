/** Extents one after the other as the layer that a descriptor makes of them. */
import { PrimaError, type Range, settled } from '@prima/base';
import { type Below, isWritableLayer, type Layer, type LayerRun, type WritableLayer } from './layer.ts';

interface Part {
  layer: Layer;
  /** Where the layer begins in the whole. */
  start: number;
  /** The range in the layer. */
  range: Range;
}

/** `layers` (at least one) in their order. What is written to one that cannot be raises `permission`. */
export function joinedLayer(layers: readonly Layer[], name: string): WritableLayer {
  return new JoinedLayer(layers, name);
}

class JoinedLayer implements WritableLayer {
  readonly size: number;
  readonly blockSize: number;
  readonly #layers: readonly Layer[];
  readonly #starts: number[] = [];
  readonly #name: string;

  constructor(layers: readonly Layer[], name: string) {
    let size = 0;
    for (const layer of layers) {
      this.#starts.push(size);
      size += layer.size;
    }
    this.#layers = layers;
    this.#name = name;
    this.size = size;
    this.blockSize = layers.reduce((most, layer) => Math.max(most, layer.blockSize), 512);
  }

  /** The last layer that begins at or before `offset`. */
  #indexAt(offset: number): number {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  *#parts({ offset, length }: Range): Generator<Part> {
    const end = offset + length;
    for (let index = this.#indexAt(offset); index < this.#layers.length; index += 1) {
      const layer = this.#layers[index];
      const start = this.#starts[index] ?? 0;
      if (layer === undefined || start >= end) return;
      const from = Math.max(offset, start);
      const stop = Math.min(end, start + layer.size);
      if (stop > from) yield { layer, start, range: { offset: from - start, length: stop - from } };
    }
  }

  async runs(range: Range, signal?: AbortSignal): Promise<LayerRun[]> {
    for (const { layer, start, range: inside } of this.#parts(range)) {
      return shifted(await layer.runs(inside, signal), start);
    }
    return [];
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<Range[]> {
    const parts = [...this.#parts({ offset, length: into.length })];
    const absent = await settled(
      parts.map(async ({ layer, start, range }) => {
        const from = start + range.offset - offset;
        return shifted(
          await layer.read(range.offset, into.subarray(from, from + range.length), signal),
          start,
        );
      }),
    );
    return absent.flat();
  }

  async write(offset: number, from: Uint8Array, below: Below, signal?: AbortSignal): Promise<void> {
    const parts = [...this.#parts({ offset, length: from.length })];
    await settled(
      parts.map(async ({ layer, start, range }) => {
        const at = start + range.offset - offset;
        const bytes = from.subarray(at, at + range.length);
        await this.#writable(layer, start).write(range.offset, bytes, shiftedBelow(below, start), signal);
      }),
    );
  }

  async zero(whole: Range, below: Below, signal?: AbortSignal): Promise<void> {
    const parts = [...this.#parts(whole)];
    await settled(
      parts.map(async ({ layer, start, range }) => {
        await this.#writable(layer, start).zero(range, shiftedBelow(below, start), signal);
      }),
    );
  }

  #writable(layer: Layer, start: number): WritableLayer {
    if (isWritableLayer(layer)) return layer;
    throw new PrimaError(
      'permission',
      `writing ${this.#name}: its extent at byte ${start} is read-only, not accessible or has no file`,
      { details: { offset: start } },
    );
  }

  async flush(): Promise<void> {
    await settled(this.#layers.filter(isWritableLayer).map((layer) => layer.flush()));
  }

  async close(): Promise<void> {
    await settled(this.#layers.map((layer) => layer.close()));
  }
}

function shifted<T extends Range>(ranges: readonly T[], delta: number): T[] {
  return ranges.map((range) => ({ ...range, offset: range.offset + delta }));
}

function shiftedBelow(below: Below, start: number): Below {
  if (start === 0) return below;
  return {
    read: (offset, into, signal) => below.read(start + offset, into, signal),
    isZero: ({ offset, length }, signal) => below.isZero({ offset: start + offset, length }, signal),
  };
}
