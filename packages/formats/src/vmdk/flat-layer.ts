/** Layers that hold everything: a piece of a flat file or a device, and an extent without any file. */
import type { Range } from '@prima/base';
import { type DiskFile, isWritableFile, type WritableDiskFile } from './disk-file.ts';
import type { Layer, LayerRun, WritableLayer } from './layer.ts';

/** Extents of a file that are asked for at once. */
const runLimit = 256;

/** The bytes of `range` of `file`; writable when the file is. Closing it closes the file. */
export function flatLayer(file: DiskFile, range: Range): Layer {
  return isWritableFile(file) ? new WritableFlatLayer(file, range) : new FlatLayer(file, range);
}

class FlatLayer implements Layer {
  readonly size: number;
  readonly blockSize = 4096;
  readonly #file: DiskFile;
  readonly #start: number;

  constructor(file: DiskFile, { offset, length }: Range) {
    this.#file = file;
    this.#start = offset;
    this.size = length;
  }

  async runs({ offset, length }: Range, signal?: AbortSignal): Promise<LayerRun[]> {
    const found: LayerRun[] = [];
    for await (const extent of this.#file.extents({ offset: this.#start + offset, length }, { signal })) {
      found.push({ ...extent, offset: extent.offset - this.#start });
      if (found.length === runLimit) break;
    }
    return found;
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<Range[]> {
    await this.#file.read(this.#start + offset, into, signal);
    return [];
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

class WritableFlatLayer extends FlatLayer implements WritableLayer {
  readonly #file: WritableDiskFile;
  readonly #start: number;

  constructor(file: WritableDiskFile, range: Range) {
    super(file, range);
    this.#file = file;
    this.#start = range.offset;
  }

  async write(offset: number, from: Uint8Array, _below: unknown, signal?: AbortSignal): Promise<void> {
    await this.#file.write(this.#start + offset, from, signal);
  }

  async zero({ offset, length }: Range, _below: unknown, signal?: AbortSignal): Promise<void> {
    await this.#file.zero({ offset: this.#start + offset, length }, signal);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }
}

/** An extent of type ZERO, or one that may not be accessed: zeros, which nobody can write. */
export function zeroLayer(size: number): Layer {
  return {
    size,
    blockSize: 4096,
    runs: async (range) => [{ ...range, kind: 'hole' }],
    read: async (_offset, into) => {
      into.fill(0);
      return [];
    },
    close: async () => undefined,
  };
}
