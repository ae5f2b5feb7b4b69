/** A chain of layers as a block device: what the top one does not hold comes from the next, and at the end zeros. */
import { assertWithin, forEachBounded, type Range, throwIfAborted } from '@prima/base';
import {
  type BlockDevice,
  type Extent,
  type ExtentOptions,
  mergeExtents,
  type WritableDevice,
} from '@prima/block';
import type { Below, Layer, LayerRun, WritableLayer } from './layer.ts';

export interface ChainOptions {
  name: string;
  /** Called, and waited for, before the first change; called again after it has failed. */
  beforeFirstWrite?: () => Promise<void>;
}

/** `layers` from the top down, at least one. Closing it closes them all. */
export function chainDevice(layers: readonly [Layer, ...Layer[]], options: ChainOptions): BlockDevice {
  return new ChainDevice(layers, options);
}

export function writableChain(
  layers: readonly [WritableLayer, ...Layer[]],
  options: ChainOptions,
): WritableDevice {
  return new WritableChain(layers, options);
}

/** What is missing in one layer is read from the next in this many pieces at once. */
const readConcurrency = 16;

class ChainDevice implements BlockDevice {
  readonly size: number;
  readonly blockSize: number;
  protected readonly name: string;
  readonly #layers: readonly Layer[];
  #closing: Promise<void> | undefined;

  constructor(layers: readonly [Layer, ...Layer[]], { name }: ChainOptions) {
    this.#layers = layers;
    this.name = name;
    this.size = layers[0].size;
    this.blockSize = layers.reduce((most, layer) => Math.max(most, layer.blockSize), 512);
  }

  extents(range: Range, options: ExtentOptions = {}): AsyncIterable<Extent> {
    assertWithin(range, this.size);
    return mergeExtents(this.#walk(range, options.signal));
  }

  /** Depth first without recursion: what is absent goes on the stack, for the next layer. */
  async *#walk(range: Range, signal: AbortSignal | undefined, top = 0): AsyncGenerator<Extent> {
    throwIfAborted(signal, `listing the extents of ${this.name}`);
    const stack: Pending[] =
      range.length > 0 ? [{ offset: range.offset, length: range.length, depth: top }] : [];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const { offset, length, depth, kind } = next;
      const layer = this.#layers[depth];
      if (kind !== undefined || layer === undefined || offset >= layer.size) {
        yield { offset, length, kind: kind ?? 'hole' };
        continue;
      }
      const reach = Math.min(length, layer.size - offset);
      const runs = await layer.runs({ offset, length: reach }, signal);
      const done = runs.reduce((sum, run) => sum + run.length, 0);
      if (done < reach) stack.push({ offset: offset + done, length: length - done, depth });
      else if (length > reach)
        stack.push({ offset: offset + reach, length: length - reach, depth: depth + 1 });
      for (const run of runs.toReversed()) stack.push(pendingOf(run, depth));
    }
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: into.length }, this.size);
    throwIfAborted(signal, `reading ${this.name}`);
    if (into.length > 0) await this.readFrom(0, { offset, into, signal });
  }

  protected async readFrom(top: number, { offset, into, signal }: ReadCall): Promise<void> {
    let missing: Range[] = [{ offset, length: into.length }];
    for (let depth = top; missing.length > 0; depth += 1) {
      const layer = this.#layers[depth];
      const below: Range[] = [];
      const part = (range: Range) =>
        into.subarray(range.offset - offset, range.offset - offset + range.length);
      const readPart = async (range: Range) => {
        const reach = Math.max(0, Math.min(range.length, (layer?.size ?? 0) - range.offset));
        part({ offset: range.offset + reach, length: range.length - reach }).fill(0);
        if (layer === undefined || reach === 0) return;
        below.push(
          ...(await layer.read(range.offset, part({ offset: range.offset, length: reach }), signal)),
        );
      };
      const [only] = missing;
      if (missing.length === 1 && only) await readPart(only);
      else await forEachBounded(missing, readConcurrency, readPart, signal);
      missing = below;
    }
  }

  /** True when the layers from `top` on are known to read as zeros there. */
  protected async isZeroFrom(top: number, range: Range, signal?: AbortSignal): Promise<boolean> {
    for await (const { kind } of this.#walk(range, signal, top)) if (kind === 'data') return false;
    return true;
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    await using all = new AsyncDisposableStack();
    for (const layer of this.#layers.toReversed()) all.defer(() => layer.close());
  }
}

interface ReadCall {
  offset: number;
  into: Uint8Array;
  signal?: AbortSignal;
}

interface Pending extends Range {
  depth: number;
  /** Known already. */
  kind?: Extent['kind'];
}

function pendingOf({ offset, length, kind }: LayerRun, depth: number): Pending {
  return kind === 'absent' ? { offset, length, depth: depth + 1 } : { offset, length, depth, kind };
}

class WritableChain extends ChainDevice implements WritableDevice {
  readonly #top: WritableLayer;
  readonly #below: Below;
  readonly #beforeFirstWrite: () => Promise<void>;
  #begun: Promise<void> | undefined;

  constructor(layers: readonly [WritableLayer, ...Layer[]], options: ChainOptions) {
    super(layers, options);
    this.#top = layers[0];
    this.#beforeFirstWrite = options.beforeFirstWrite ?? (async () => undefined);
    this.#below = {
      read: (offset, into, signal) => this.readFrom(1, { offset, into, signal }),
      isZero: (range, signal) => this.isZeroFrom(1, range, signal),
    };
  }

  async write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    assertWithin({ offset, length: from.length }, this.size);
    throwIfAborted(signal, `writing ${this.name}`);
    if (from.length === 0) return;
    await this.#begin();
    await this.#top.write(offset, from, this.#below, signal);
  }

  async zero(range: Range, signal?: AbortSignal): Promise<void> {
    assertWithin(range, this.size);
    throwIfAborted(signal, `zeroing ${this.name}`);
    if (range.length === 0) return;
    await this.#begin();
    await this.#top.zero(range, this.#below, signal);
  }

  #begin(): Promise<void> {
    this.#begun ??= this.#beforeFirstWrite().catch((error: unknown) => {
      this.#begun = undefined;
      throw error;
    });
    return this.#begun;
  }

  flush(): Promise<void> {
    return this.#top.flush();
  }
}
