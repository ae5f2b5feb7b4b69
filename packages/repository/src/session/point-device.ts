/** A disk of a restore point as a BlockDevice. */
import {
  alignDown,
  alignUp,
  assertWithin,
  intersect,
  MiB,
  PrimaError,
  Semaphore,
  throwIfAborted,
} from '@prima/base';
import type { Extent, ExtentOptions, Range } from '@prima/block';
import { type Context, hexOf } from '../context.ts';
import type { PointDevice } from '../contract.ts';
import type { Point, PointDisk } from '../point.ts';
import { blobType } from '../format/blob.ts';
import type { BlobReader } from '../index/blob-reader.ts';
import type { ChunkRef, PageTree } from '../manifest/page-tree.ts';
import type { ChunkPool } from '../pool/chunk-pool.ts';
import { ChunkCache } from './chunk-cache.ts';

export interface PointDeviceParts {
  context: Context;
  blobs: BlobReader;
  tree: PageTree;
  pool: ChunkPool;
  /** Ends the pin. */
  onClose: () => Promise<void>;
  /** Told of ranges that cannot be read; they read as zeros then. Without it, reading them raises. */
  onDamage?: ((range: Range, error: PrimaError) => void) | undefined;
}

/** Decoded chunks that are kept for the next read; a guest reads a chunk in many small pieces. */
const cacheBytes = 64 * MiB;
/** Chunks that are fetched and opened at once for one device. */
const concurrency = 8;

/** Read-only. Reads are verified: a chunk that is not what was written raises `integrity`. */
export class RepositoryPointDevice implements PointDevice {
  readonly point: Point;
  readonly size: number;
  readonly blockSize: number;
  readonly #disk: PointDisk;
  readonly #parts: PointDeviceParts;
  readonly #cache: ChunkCache;
  readonly #turns = new Semaphore(concurrency);
  #closed = false;

  constructor(point: Point, disk: PointDisk, parts: PointDeviceParts) {
    this.point = point;
    this.size = disk.size;
    this.blockSize = parts.context.chunkSize;
    this.#disk = disk;
    this.#parts = parts;
    this.#cache = new ChunkCache(this.blockSize, cacheBytes / this.blockSize, concurrency);
  }

  async *extents(range: Range, options: ExtentOptions = {}): AsyncGenerator<Extent> {
    assertWithin(range, this.size);
    let current: Extent | undefined;
    for await (const chunk of this.#chunks(range, options.signal)) {
      throwIfAborted(options.signal, 'reading the map of a restore point');
      const part = intersect(chunk, range);
      if (!part) continue;
      const kind = chunk.id ? 'data' : 'hole';
      if (current?.kind === kind) {
        current.length += part.length;
      } else {
        if (current) yield current;
        current = { ...part, kind };
      }
    }
    if (current) yield current;
  }

  async read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    const range = { offset, length: into.length };
    assertWithin(range, this.size);
    this.#assertOpen();
    throwIfAborted(signal, 'reading a restore point');
    const jobs: Promise<void>[] = [];
    try {
      for await (const chunk of this.#chunks(range, signal)) {
        const part = intersect(chunk, range);
        if (!part) continue;
        const target = into.subarray(part.offset - offset, part.offset - offset + part.length);
        if (!chunk.id) {
          target.fill(0);
          continue;
        }
        const job = this.#readChunk(chunk, part, { target, signal });
        job.catch(() => undefined); // raised below, when the pages of the rest have been read
        jobs.push(job);
      }
    } finally {
      await Promise.allSettled(jobs); // nothing is written to `into` when this ends
    }
    await Promise.all(jobs);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cache.clear();
    await this.#parts.onClose();
  }

  /** Who reads a whole chunk will not come back for it; who reads a part will. */
  async #readChunk(
    chunk: ChunkRef,
    part: Range,
    { target, signal }: { target: Uint8Array; signal: AbortSignal | undefined },
  ): Promise<void> {
    const isWhole = part.length === chunk.length;
    if (isWhole && target.buffer instanceof SharedArrayBuffer && !this.#cache.has(chunk.offset)) {
      await this.#turns.run(() => this.#open(chunk, target, signal)); // a worker puts it where it is wanted
      return;
    }
    const start = part.offset - chunk.offset;
    await this.#cache.read(chunk.offset, {
      fill: (memory, own) => this.#open(chunk, memory.subarray(0, chunk.length), own),
      look: (memory) => target.set(memory.subarray(start, start + part.length)),
      keep: !isWhole,
      signal,
    });
  }

  async #open(chunk: ChunkRef, into: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { id } = chunk;
    if (!id) return;
    try {
      const { blobs, pool, context } = this.#parts;
      throwIfAborted(signal, 'reading a restore point');
      await blobs.read(
        id,
        async (bytes, where) => {
          await context.keyring.learnEpochOf(bytes);
          await pool.open(bytes, { type: blobType.chunk, id, into, where });
        },
        signal,
      );
    } catch (error) {
      if (signal?.aborted) throw error; // whatever it was aborted for: not for this chunk
      this.#damaged(error, chunk, id);
      into.fill(0);
    }
  }

  /** Says what cannot be read where somebody takes it; raises it, with its place in the disk, where not. */
  #damaged(error: unknown, { offset, length }: Range, id: Uint8Array): void {
    if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    const { point } = this;
    const failure = new PrimaError(
      'integrity',
      `${point.machine.name} ${this.#disk.name} of point ${point.id} is damaged at ${offset}+${length}: ${error.message} (with --allow-damaged the rest is restored)`,
      { cause: error, details: { ...error.details, offset, length, id: hexOf(id) } },
    );
    if (!this.#parts.onDamage) throw failure;
    this.#parts.onDamage({ offset, length }, failure);
  }

  async *#chunks(range: Range, signal: AbortSignal | undefined): AsyncGenerator<ChunkRef> {
    this.#assertOpen();
    if (range.length === 0) return;
    const { chunkSize } = this.#parts.context;
    const start = alignDown(range.offset, chunkSize);
    const end = Math.min(alignUp(range.offset + range.length, chunkSize), this.size);
    const wanted = { offset: start, length: end - start };
    yield* this.#parts.tree.chunks({ root: this.#disk.root, size: this.size }, wanted, {
      onError: (error, page, id) => this.#damaged(error, page, id),
      signal,
    });
  }

  #assertOpen(): void {
    if (this.#closed) throw new PrimaError('state', 'the restore point was closed while it was read');
  }
}
