/**
 * Takes the packs of one session, stores them, and remembers where each blob went until the
 * session's index segments are written. Metadata packs are built here, data packs on workers.
 */
import { randomBytes } from 'node:crypto';
import { assert, Mutex } from '@prima/base';
import { type Context, putSealed } from '../context.ts';
import { blobOverheadBytes, blobType, type BlobType } from '../format/blob.ts';
import { type PackEntry, type PackKind, packKey } from '../format/pack.ts';
import { packBufferBytes, PackBuilder } from '../format/pack-builder.ts';
import { type SegmentEntry, segmentEntries, type SegmentPack, writeSegment } from '../format/segment.ts';
import { IdTable } from '../index/id-table.ts';
import { blobId } from '../crypto/sealer.ts';
import type { BuiltPack } from '../pool/chunk-pool.ts';

/** Metadata packs stay small: a session rarely has more than a few megabytes of pages. */
const metaPackBytes = 8 * 1024 * 1024;
/** Plain and stored length of the random blob that makes a pack's name unique. */
const uniqueBytes = 16;
export const uniqueBlobBytes = uniqueBytes + blobOverheadBytes;

/** Number of the pack that a blob is in, while it is not stored yet. */
const pending = 0xffff_fffe;

/** A pack that is stored, with what is in it. */
export interface SunkPack extends SegmentPack {
  ids: Uint8Array;
  places: Uint32Array;
}

export interface PackSinkOptions {
  /** Told once, when a pack cannot be stored: whoever waits for its buffer must stop. */
  onFailure?: (error: unknown) => void;
  /** Told of each pack that is durable, its bytes. */
  onStored?: (bytes: number) => void;
  /** Packs of copied blobs get a random blob of their own, so that no other pack has their name. Default false. */
  isUnique?: boolean;
  /** What is being stored is given up when it is aborted, and counts as failed. */
  signal?: AbortSignal | undefined;
}

export class PackSink {
  readonly #context: Context;
  readonly #session: string;
  /** Stored, and in no segment yet. */
  #packs: SunkPack[] = [];
  /** Names of packs that somebody else's segments may name: they are not ours to delete. */
  readonly #shared = new Set<string>();
  /** What this session stores or is about to store. */
  readonly #own = new IdTable();
  readonly #storing = new Set<Promise<void>>();
  /** Packs that are built on this thread. */
  readonly #open = new Map<PackKind, { builder: PackBuilder; buffer: Uint8Array }>();
  readonly #turn = new Mutex();
  readonly #onFailure: (error: unknown) => void;
  readonly #onStored: (bytes: number) => void;
  readonly #isUnique: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #keys: string[] = [];
  /** Given up while they were being stored: they may have come to be. */
  readonly #unsure: string[] = [];
  #storedBytes = 0;
  #failure: unknown;

  constructor(context: Context, session: string, options: PackSinkOptions = {}) {
    this.#context = context;
    this.#session = session;
    this.#onFailure = options.onFailure ?? (() => undefined);
    this.#onStored = options.onStored ?? (() => undefined);
    this.#isUnique = options.isUnique ?? false;
    this.#signal = options.signal;
  }

  /** Packs that are being written to the store now. */
  get storing(): number {
    return this.#storing.size;
  }

  /** Bytes of the packs that are stored, those that were taken included. */
  get storedBytes(): number {
    return this.#storedBytes;
  }

  /** Keys of all packs that were stored. */
  get keys(): readonly string[] {
    return this.#keys;
  }

  /** True when this session has stored the blob, or is about to. */
  has(id: Uint8Array): boolean {
    return this.#own.has(id);
  }

  /** Says that the blob is on its way, so that nobody else seals it too. */
  claim(id: Uint8Array): void {
    this.#own.set(id, pending, 0, 0);
  }

  /**
   * Remembers that something which counts as stored is not: from then on nothing more is stored, and `finish` raises it. Only
   * the first failure counts.
   */
  fail(error: unknown): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#onFailure(error);
  }

  /** Raises what went wrong while storing, if anything did. */
  throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Stores a pack that a worker built; gives its buffer back when it is durable. */
  take(pack: BuiltPack): void {
    const { name, bytes, ids, places } = pack;
    this.#track(async () => {
      await this.#store('data', { name, bytes, ids, places });
      pack.release();
    });
  }

  /** Seals a small blob into the metadata pack; returns its stored length. */
  async addMeta(type: BlobType, id: Uint8Array, plain: Uint8Array): Promise<number> {
    return await this.#turn.run(async () => {
      this.throwIfFailed();
      const builder = await this.#builder('meta');
      return builder.add({ type, id, plain }, this.#context.sealer).length;
    });
  }

  /** Seals and stores unless it is stored already; returns id and what was added. */
  async addMetaOnce(
    type: BlobType,
    plain: Uint8Array,
    isKnown: (id: Uint8Array) => boolean,
  ): Promise<{ id: Uint8Array; stored: number }> {
    const id = blobId(this.#context.keys, type, plain);
    if (this.has(id) || isKnown(id)) return { id, stored: 0 };
    this.claim(id);
    return { id, stored: await this.addMeta(type, id, plain) };
  }

  /** Copies a sealed blob from another pack. */
  async copy(kind: PackKind, entry: Omit<PackEntry, 'offset' | 'length'>, blob: Uint8Array): Promise<void> {
    await this.#turn.run(async () => {
      this.throwIfFailed();
      (await this.#builder(kind)).copy(entry, blob);
    });
  }

  /** Takes the packs that are stored and in no segment, for a checkpoint's segments; they stay known to `has`. */
  takeStored(): SunkPack[] {
    const packs = this.#packs;
    this.#packs = [];
    return packs;
  }

  /** Takes back what a checkpoint did not come to keep. `areNamed`: its segments may stand all the same. */
  putBack(packs: readonly SunkPack[], areNamed: boolean): void {
    this.#packs.push(...packs);
    if (areNamed) for (const { name } of packs) this.#shared.add(name);
  }

  /** Waits until everything is durable and writes the index segments. */
  async finish(more: NewEntries = { packs: [], entries: [] }): Promise<void> {
    this.throwIfFailed();
    for (const kind of this.#open.keys()) await this.#finishOpen(kind);
    await this.settle();
    const packs: SegmentPack[] = [...more.packs];
    const entries: SegmentEntry[] = [...more.entries];
    addEntries(this.#packs, packs, entries);
    await writeSegments(this.#context, this.#session, { ...more, packs, entries });
  }

  /** Waits for the packs that are being stored. Raises the first failure. */
  async settle(): Promise<void> {
    while (this.#storing.size > 0) await Promise.all(this.#storing);
    this.throwIfFailed();
  }

  /** Waits for what is under way, whatever its result: for a session that is given up. */
  async drain(): Promise<void> {
    while (this.#storing.size > 0) await Promise.allSettled(this.#storing);
  }

  /** Deletes the packs that were stored: for a session of which no outcome is or ever will be committed. */
  async discard(): Promise<void> {
    for (const { kind, name } of this.#packs) {
      if (!this.#shared.has(name)) await this.#context.store.delete(packKey(kind, name));
    }
    for (const key of this.#unsure) await this.#context.store.delete(key);
  }

  /** The open pack of this kind, with room for one more blob. */
  async #builder(kind: PackKind): Promise<PackBuilder> {
    const open = this.#open.get(kind);
    if (open && !open.builder.isFull) return open.builder;
    if (open) await this.#finishOpen(kind);
    const limit = packLimit(this.#context, kind);
    const buffer = Buffer.alloc(packBufferBytes(limit, this.#context.chunkSize));
    const builder = new PackBuilder(buffer, limit);
    if (this.#isUnique) {
      const plain = randomBytes(uniqueBytes);
      const id = blobId(this.#context.keys, blobType.file, plain);
      builder.add({ type: blobType.file, id, plain }, this.#context.sealer);
    }
    this.#open.set(kind, { builder, buffer });
    return builder;
  }

  async #finishOpen(kind: PackKind): Promise<void> {
    const open = this.#open.get(kind);
    this.#open.delete(kind);
    if (!open || open.builder.isEmpty) return;
    const { name, size, entries: all } = open.builder.finish();
    const entries = this.#isUnique ? all.slice(1) : all;
    const ids = new Uint8Array(entries.length * 32);
    const places = new Uint32Array(entries.length * 2);
    for (const [i, entry] of entries.entries()) {
      ids.set(entry.id, i * 32);
      places.set([entry.offset, entry.length], i * 2);
    }
    try {
      await this.#store(kind, { name, bytes: open.buffer.subarray(0, size), ids, places });
    } catch (error) {
      this.fail(error); // what was in it is claimed
      throw error;
    }
  }

  async #store(
    kind: PackKind,
    pack: { name: string; bytes: Uint8Array; ids: Uint8Array; places: Uint32Array },
  ): Promise<void> {
    const { name, bytes, ids, places } = pack;
    const key = packKey(kind, name);
    await this.#put(key, bytes);
    this.#keys.push(key);
    this.#packs.push({ name, kind, size: bytes.length, ids, places });
    this.#storedBytes += bytes.length;
    this.#onStored(bytes.length);
  }

  async #put(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.#context.store.putIfAbsent(key, bytes, this.#signal ? { signal: this.#signal } : {});
    } catch (error) {
      if (this.#signal?.aborted) this.#unsure.push(key);
      throw error;
    }
  }

  #track(work: () => Promise<void>): void {
    const job = work()
      .catch((error: unknown) => this.fail(error))
      .finally(() => this.#storing.delete(job));
    this.#storing.add(job);
  }
}

/** Writes the index segments of `session` that name these packs. */
export async function writePackSegments(
  context: Context,
  session: string,
  sunk: readonly SunkPack[],
): Promise<void> {
  const packs: SegmentPack[] = [];
  const entries: SegmentEntry[] = [];
  addEntries(sunk, packs, entries);
  await writeSegments(context, session, { packs, entries });
}

function addEntries(sunk: readonly SunkPack[], packs: SegmentPack[], entries: SegmentEntry[]): void {
  for (const { name, kind, size, ids, places } of sunk) {
    const number = packs.push({ name, kind, size }) - 1;
    for (let i = 0; i * 32 < ids.length; i += 1) {
      const id = ids.subarray(i * 32, i * 32 + 32);
      entries.push({ id, pack: number, offset: places[i * 2] ?? 0, length: places[i * 2 + 1] ?? 0 });
    }
  }
}

interface NewEntries {
  packs: readonly SegmentPack[];
  entries: readonly SegmentEntry[];
  /** Write one segment even where there is nothing to say in it. Default false. */
  evenIfEmpty?: boolean;
}

async function writeSegments(
  context: Context,
  session: string,
  { packs, entries, evenIfEmpty = false }: NewEntries,
): Promise<void> {
  const count = Math.max(Math.ceil(entries.length / segmentEntries), evenIfEmpty ? 1 : 0);
  for (let n = 1; n <= count; n += 1) {
    const start = (n - 1) * segmentEntries;
    const part = entries.slice(start, start + segmentEntries);
    const numbers = new Map<number, number>();
    const used: SegmentPack[] = [];
    const renumbered = part.map((entry) => {
      let number = numbers.get(entry.pack);
      if (number === undefined) {
        number = used.length;
        numbers.set(entry.pack, number);
        const pack = packs[entry.pack];
        assert(pack, 'an entry names a pack');
        used.push(pack);
      }
      return { ...entry, pack: number };
    });
    const key = `index/${session}-${n}`;
    await putSealed(context, key, blobType.segment, writeSegment(used, renumbered));
  }
}

/** Bytes at which a pack of this kind is closed. */
export function packLimit(context: Context, kind: PackKind): number {
  return kind === 'meta' ? Math.min(metaPackBytes, context.packBytes) : context.packBytes;
}
