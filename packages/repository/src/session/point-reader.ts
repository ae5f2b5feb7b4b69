/** Reading what restore points hold: disks, files, differences. Loaded when the first is read. */
import { PrimaError, type Range, UserError } from '@prima/base';
import { type Context, idFromHex } from '../context.ts';
import type { OpenDiskOptions, PointDevice } from '../contract.ts';
import type { Point, PointDisk } from '../point.ts';
import { recordDamage } from '../damage/lists.ts';
import { blobType } from '../format/blob.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';
import { ChunkPool } from '../pool/chunk-pool.ts';
import { committedPoint } from './locks.ts';
import { RepositoryPointDevice } from './point-device.ts';
import { beginSession, endReader, forgottenKey, outcomeKey, startBeats } from './sessions.ts';

export class PointReader {
  readonly #context: Context;
  #blobs: Promise<BlobReader> | undefined;
  #pool: ChunkPool | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  async openDisk(point: Point, name: string, options: OpenDiskOptions = {}): Promise<PointDevice> {
    const disk = findDisk(point, name);
    const unpin = await this.#pin(point);
    try {
      const blobs = await this.#index();
      this.#pool ??= new ChunkPool({
        keys: this.#context.keys,
        chunkSize: this.#context.chunkSize,
        reserve: this.#context.threads,
        ...(this.#context.workers === undefined ? {} : { workers: this.#context.workers }),
      });
      const tree = new PageTree(this.#context, blobs);
      return new RepositoryPointDevice(point, disk, {
        context: this.#context,
        blobs,
        tree,
        pool: this.#pool,
        onDamage: options.onDamage,
        onClose: async () => {
          await recordDamage(this.#context, 'read');
          await unpin();
        },
      });
    } catch (error) {
      await unpin();
      throw error;
    }
  }

  async readFile(point: Point, name: string): Promise<Uint8Array> {
    const file = point.files.find((entry) => entry.name === name);
    if (!file) throw new PrimaError('not-found', `point ${point.id} holds no file "${name}"`);
    const blobs = await this.#index();
    const parts: Uint8Array[] = [];
    try {
      for (const id of file.ids) parts.push(await blobs.open(idFromHex(id), blobType.file));
    } finally {
      await recordDamage(this.#context, 'read');
    }
    return Buffer.concat(parts);
  }

  async difference(a: PointDisk, b: PointDisk): Promise<Range[]> {
    if (a.size !== b.size)
      throw new UserError('unsupported', 'disks of different sizes are compared by restoring them');
    const tree = new PageTree(this.#context, await this.#index());
    const ranges: Range[] = [];
    for await (const range of tree.differences(a.root, b.root, a.size)) {
      const last = ranges.at(-1);
      if (last && last.offset + last.length === range.offset) last.length += range.length;
      else ranges.push({ ...range });
    }
    return ranges;
  }

  async #index(): Promise<BlobReader> {
    this.#blobs ??= RepositoryIndex.load(this.#context).then((index) => new BlobReader(this.#context, index));
    return await this.#blobs;
  }

  /**
   * Keeps collections from deleting what the point needs. The order matters: first the pin, then
   * the look whether the point is still there. A store that may only be read, or is full, is read without.
   */
  async #pin(point: Point): Promise<() => Promise<void>> {
    let session: string;
    try {
      session = await beginSession(this.#context, 'read', { point: point.id });
    } catch (error) {
      const isReadOnly = error instanceof PrimaError && ['permission', 'no-space'].includes(error.code);
      if (!isReadOnly) throw error;
      this.#context.logger.warn(
        `the point is read without keeping collections away, because ${this.#context.store.url} cannot be written: ${error.message}`,
      );
      return async () => undefined;
    }
    const stopBeats = startBeats(this.#context, session);
    const unpin = async () => {
      await stopBeats();
      await endReader(this.#context, session);
    };
    try {
      const { store } = this.#context;
      const isMarked = (await store.stat(forgottenKey(point.id))) !== undefined;
      // it may be locked all the same, and gone for good when nothing is left of it
      if (isMarked || !(await store.stat(outcomeKey(point.id))))
        await committedPoint(this.#context, point.id);
    } catch (error) {
      await unpin();
      throw error;
    }
    return unpin;
  }

  /** A collection may have deleted what the index says; the next read loads it anew. */
  forgetIndex(): void {
    this.#blobs = undefined;
  }

  async close(): Promise<void> {
    await this.#pool?.close();
  }
}

function findDisk(point: Point, name: string): PointDisk {
  const disk = name === 'memory' ? point.memory : point.disks.find((entry) => entry.name === name);
  if (disk) return disk;
  const there = [...point.disks.map((entry) => entry.name), ...(point.memory ? ['memory'] : [])].join(', ');
  throw new UserError('not-found', `point ${point.id} has no disk "${name}"; it has: ${there}`);
}
