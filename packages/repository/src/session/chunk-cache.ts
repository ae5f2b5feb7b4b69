/**
 * Decoded chunks of one device, in shared memory that is used again and again: memory that workers write
 * to is slow to get, and the garbage collector is slow to take it back.
 */
import { Semaphore, SharedWork, throwIfAborted } from '@prima/base';

/** Fills the first bytes of the memory with a chunk. */
export type FillChunk = (memory: Uint8Array, signal: AbortSignal) => Promise<void>;

export interface ChunkUse {
  /** Fetches the chunk where it is not in the cache. */
  fill: FillChunk;
  /** Looks at the chunk, at once; keeps no view of it. */
  look: (memory: Uint8Array) => void;
  /** Whether the chunk is likely to be wanted again soon. */
  keep: boolean;
  signal?: AbortSignal | undefined;
}

interface Entry {
  memory: SharedWork<Uint8Array>;
  /** The memory once it is filled. */
  filled?: Uint8Array;
  /** Readers that wait for the chunk or look at it now. */
  users: number;
  keep: boolean;
}

export class ChunkCache {
  readonly #chunkSize: number;
  readonly #limit: number;
  readonly #turns: Semaphore;
  /** By the chunk's offset, the longest unused first. */
  readonly #entries = new Map<number, Entry>();
  readonly #free: Uint8Array[] = [];

  /**
   * @param limit chunks that are kept; more are there only while somebody waits for them
   * @param concurrency chunks that are fetched at once
   */
  constructor(chunkSize: number, limit: number, concurrency: number) {
    this.#chunkSize = chunkSize;
    this.#limit = limit;
    this.#turns = new Semaphore(concurrency);
  }

  /** True when the chunk is there, or on its way. */
  has(offset: number): boolean {
    return this.#entries.has(offset);
  }

  /** Raises what `fill` raises, to all who wait for it; the next reader tries again. */
  async read(offset: number, { fill, look, keep, signal }: ChunkUse): Promise<void> {
    const known = this.#entries.get(offset);
    const entry = known && !known.memory.isAbandoned ? known : this.#begin(fill);
    this.#entries.delete(offset);
    this.#entries.set(offset, entry);
    entry.keep = keep;
    entry.users += 1;
    try {
      look(await entry.memory.wait('reading a chunk', signal));
    } catch (error) {
      const isWanted = signal?.aborted === true && !entry.memory.isAbandoned;
      if (!isWanted && this.#entries.get(offset) === entry) this.#entries.delete(offset);
      throw error;
    } finally {
      entry.users -= 1;
      this.#trim();
    }
  }

  clear(): void {
    this.#entries.clear();
    this.#free.length = 0;
  }

  #begin(fill: FillChunk): Entry {
    const filled = async (signal: AbortSignal) => {
      const memory = await this.#turns.run(() => this.#filled(fill, signal));
      entry.filled = memory;
      return memory;
    };
    const entry: Entry = { memory: new SharedWork(filled), users: 0, keep: true };
    return entry;
  }

  async #filled(fill: FillChunk, signal: AbortSignal): Promise<Uint8Array> {
    throwIfAborted(signal, 'reading a chunk');
    const memory = this.#free.pop() ?? new Uint8Array(new SharedArrayBuffer(this.#chunkSize));
    try {
      await fill(memory, signal);
      return memory;
    } catch (error) {
      this.#free.push(memory);
      throw error;
    }
  }

  /** Takes back what nobody looks at: what is not to be kept, and the longest unused of the rest. */
  #trim(): void {
    for (const [offset, { users, keep, filled }] of this.#entries) {
      if (users > 0 || filled === undefined) continue;
      if (keep && this.#entries.size <= this.#limit) continue;
      this.#entries.delete(offset);
      this.#free.push(filled);
    }
  }
}
