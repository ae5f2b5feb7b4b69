/** Writes one disk into a session: plan, read, hash, deduplicate, seal, pages. */
import {
  assert,
  type Bottleneck,
  forEachBounded,
  mergeRanges,
  PrimaError,
  type Range,
  settled,
  systemRandom,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Context } from '../context.ts';
import type { MendedFigures, WriteDiskRequest, WriteDiskResult } from '../contract.ts';
import type { DiskFigures, RootRef } from '../point.ts';
import { blobType } from '../format/blob.ts';
import { type Page, pageFanout, type PageRef, writePage } from '../format/page.ts';
import type { RepositoryIndex } from '../index/repository-index.ts';
import type { PageTree } from '../manifest/page-tree.ts';
import { storeRefs, storeTree } from '../manifest/page-writer.ts';
import type { ChunkPool, Slot, SlotChunk } from '../pool/chunk-pool.ts';
import { BottleneckMeter } from './bottleneck.ts';
import { chunkPlan, type DiskPlan, planDisk, sampleKept } from './disk-plan.ts';
import { isIntegrity, readParent } from './mending.ts';
import type { PackSink } from './pack-sink.ts';
import { isUnforgotten } from './sessions.ts';

export interface DiskWriterParts {
  context: Context;
  pool: ChunkPool;
  sink: PackSink;
  index: RepositoryIndex;
  tree: PageTree;
}

const defaultSample = 16;
const progressMs = 200;
/** Times a tracked backup begins again because its parent's pages turn out to be damaged. */
const maxAttempts = 3;

/** A leaf page whose chunks are being filled in. */
interface OpenLeaf {
  number: number;
  refs: PageRef[];
  /** Chunks that are still to come. */
  missing: number;
}

/** Chunks to read that lie one behind the other and fit into a slot. */
interface Run {
  first: number;
  count: number;
  leaf: OpenLeaf;
}

export class DiskWriter {
  readonly #parts: DiskWriterParts;
  readonly #request: WriteDiskRequest;
  readonly #device: BlockDevice;
  readonly #figures: DiskFigures = { read: 0, data: 0, added: 0, stored: 0, sampled: 0 };
  readonly #meter = new BottleneckMeter();
  /** Chunks in each stage now, for the bottleneck. */
  readonly #stages = { reading: 0, processing: 0 };
  /** What was stored again because it could not be read any more. */
  readonly #mended: MendedFigures = { chunks: 0, pages: 0, bytes: 0 };
  #leaves: PageRef[] = [];

  constructor(parts: DiskWriterParts, request: WriteDiskRequest) {
    this.#parts = parts;
    this.#request = request;
    this.#device = request.device;
  }

  async write(): Promise<WriteDiskResult> {
    const { changed, parent } = this.#request;
    assert(changed === undefined || parent, 'a tracked disk has a parent');
    if (changed === undefined || !parent) return await this.#writeAll();
    // the marker is there: a collection that takes the parent for forgotten after this look waits for this session
    if (!(await isUnforgotten(this.#parts.context, parent.point)))
      return { ...(await this.#writeAll()), parentGone: true };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#writeChanged(changed, parent.root);
      } catch (error) {
        // a page of the parent turned out to be damaged: known by now, it is mended the next time round
        if (!isIntegrity(error) || attempt === maxAttempts || !this.#parts.index.mayHaveLost()) throw error;
        this.#parts.sink.throwIfFailed();
        this.#parts.context.logger.warn(`mending what cannot be read of the point before: ${error.message}`);
      }
    }
  }

  async #writeChanged(changed: readonly Range[], parent: RootRef): Promise<WriteDiskResult> {
    const { leaves, lost, hidden } = await readParent(this.#parts, parent, this.#device.size);
    this.#leaves = leaves;
    const plan = await this.#plan([...changed, ...lost, ...hidden], this.#request.signal);
    const fault = await this.#sample(plan);
    const result: WriteDiskResult =
      fault === undefined
        ? this.#result(await this.#run(plan))
        : { ...(await this.#writeAll()), trackingFault: { offset: fault } };
    const stillLost = lost.filter(({ id }) => !this.#parts.sink.has(id));
    const unmended = mergeRanges(stillLost.map(({ offset, length }) => ({ offset, length })));
    if (unmended.length + hidden.length === 0) return result;
    return { ...result, unmended, hidden: mergeRanges(hidden) };
  }

  async #writeAll(): Promise<WriteDiskResult> {
    this.#leaves = this.#blankLeaves();
    const plan = await this.#plan(undefined, this.#request.signal);
    return this.#result(await this.#run(plan));
  }

  #result(root: RootRef): WriteDiskResult {
    const isMended = this.#mended.chunks + this.#mended.pages > 0;
    return { root, figures: this.#figures, ...(isMended ? { mended: this.#mended } : {}) };
  }

  async #plan(changed: WriteDiskRequest['changed'], signal: AbortSignal | undefined): Promise<DiskPlan> {
    return await planDisk(this.#device, changed, this.#parts.context.chunkSize, signal);
  }

  #blankLeaves(): PageRef[] {
    const span = this.#parts.context.chunkSize * pageFanout;
    return Array.from({ length: Math.ceil(this.#device.size / span) }, (_, i) => ({
      id: undefined,
      length: Math.min(span, this.#device.size - i * span),
    }));
  }

  /** Re-reads some chunks that are called unchanged; the offset of the first that is not. */
  async #sample(plan: DiskPlan): Promise<number | undefined> {
    const { chunkSize } = this.#parts.context;
    const chunks = sampleKept(plan, this.#request.sampleChunks ?? defaultSample, systemRandom);
    let fault: number | undefined;
    await forEachBounded(
      chunks,
      4,
      async (chunk, signal) => {
        const refs = await this.#parts.tree.leafRefs(this.#leafRef(Math.floor(chunk / pageFanout)));
        const wanted = refs[chunk % pageFanout]?.id;
        await this.#withSlot(async (slot) => {
          const [only] = await this.#read({ first: chunk, count: 1 }, slot, signal);
          assert(only, 'one chunk was read');
          const found = await this.#parts.pool.hash(only);
          const same = found && wanted ? Buffer.compare(found, wanted) === 0 : found === wanted;
          if (!same) fault = Math.min(fault ?? Number.POSITIVE_INFINITY, chunk * chunkSize);
        });
        this.#figures.sampled += 1;
      },
      this.#request.signal,
    );
    return fault;
  }

  async #run(plan: DiskPlan) {
    const { context } = this.#parts;
    const total = plan.toRead * context.chunkSize;
    let done = 0;
    const timer = setInterval(() => this.#report(done, total), progressMs);
    try {
      await forEachBounded(
        this.#work(plan),
        this.#parts.pool.slotCount,
        async (run, signal) => {
          await this.#withSlot(async (slot) => this.#writeRun(run, slot, signal));
          done += run.count * context.chunkSize;
          run.leaf.missing -= run.count;
          if (run.leaf.missing === 0) await this.#closeLeaf(run.leaf);
        },
        this.#request.signal,
      );
    } finally {
      clearInterval(timer);
    }
    this.#report(done, total);
    return await storeTree(this.#leaves, this.#device.size, context.chunkSize, (page) =>
      this.#storePage(page),
    );
  }

  /** The chunks to read, ascending. */
  async *#work(plan: DiskPlan): AsyncGenerator<Run> {
    for (let number = 0; number < this.#leaves.length; number += 1) {
      const first = number * pageFanout;
      const planned = plan.chunks.subarray(first, first + pageFanout);
      if (planned.every((action) => action === chunkPlan.keep)) continue;
      const refs = await this.#leafStart(number, planned);
      const reads = planned.reduce((sum, action) => sum + (action === chunkPlan.read ? 1 : 0), 0);
      const leaf: OpenLeaf = { number, refs, missing: reads };
      if (reads === 0) await this.#closeLeaf(leaf);
      for (const { start, count } of runsOf(planned, this.#parts.pool.runChunks))
        yield { first: first + start, count, leaf };
    }
  }

  /** The leaf's references before anything was read: the parent's, with zeros where the plan says so. */
  async #leafStart(number: number, planned: Uint8Array): Promise<PageRef[]> {
    const refs = await this.#parts.tree.leafRefs(this.#leafRef(number));
    return refs.map(({ id, length }, i) => ({ id: planned[i] === chunkPlan.keep ? id : undefined, length }));
  }

  #leafRef(number: number): PageRef {
    const ref = this.#leaves[number];
    assert(ref, `leaf ${number} is part of the disk`);
    return ref;
  }

  async #writeRun(run: Run, slot: Slot, signal: AbortSignal): Promise<void> {
    const chunks = await this.#read(run, slot, signal);
    this.#stages.processing += 1;
    try {
      await settled(chunks.map((chunk, i) => this.#writeChunk(chunk, run.first + i, run.leaf)));
    } finally {
      this.#stages.processing -= 1;
    }
  }

  async #writeChunk(chunk: SlotChunk, number: number, leaf: OpenLeaf): Promise<void> {
    const { pool, sink, index } = this.#parts;
    const ref = leaf.refs[number % pageFanout];
    assert(ref, `chunk ${number} is part of its leaf`);
    const id = await pool.hash(chunk);
    ref.id = id;
    if (!id) return;
    this.#figures.data += ref.length;
    if (sink.has(id) || index.mayShare(id)) return;
    sink.claim(id);
    const stored = await pool.seal(chunk, id).catch((error: unknown) => {
      sink.fail(error); // the id is claimed, and what lies in the pack under it may be wrong
      throw error;
    });
    this.#figures.stored += stored;
    this.#figures.added += ref.length;
    if (!index.isKnownLost(id)) return;
    this.#mended.chunks += 1;
    this.#mended.bytes += ref.length;
  }

  /** Reads `count` chunks from the chunk `first` on into the slot. */
  async #read(
    { first, count }: Pick<Run, 'first' | 'count'>,
    slot: Slot,
    signal: AbortSignal,
  ): Promise<SlotChunk[]> {
    const { chunkSize } = this.#parts.context;
    const offset = first * chunkSize;
    const length = Math.min(count * chunkSize, this.#device.size - offset);
    throwIfAborted(signal, `reading ${this.#request.name}`);
    this.#stages.reading += 1;
    try {
      await this.#device.read(offset, slot.bytes.subarray(0, length), signal);
    } catch (error) {
      throw sourceError(error, `reading ${this.#request.name} at ${offset}`);
    } finally {
      this.#stages.reading -= 1;
    }
    this.#figures.read += length;
    return Array.from({ length: count }, (_, i) => ({
      slot,
      offset: i * chunkSize,
      length: Math.min(chunkSize, length - i * chunkSize),
    }));
  }

  async #withSlot(task: (slot: Slot) => Promise<void>): Promise<void> {
    const slot = await this.#parts.pool.slot();
    try {
      await task(slot);
    } finally {
      slot.release();
    }
  }

  async #closeLeaf(leaf: OpenLeaf): Promise<void> {
    this.#leaves[leaf.number] = await storeRefs(0, leaf.refs, (page) => this.#storePage(page));
  }

  async #storePage(page: Page): Promise<Uint8Array> {
    const { sink, index } = this.#parts;
    const { id, stored } = await sink.addMetaOnce(blobType.page, writePage(page), (known) =>
      index.mayShare(known),
    );
    this.#figures.stored += stored;
    if (stored > 0 && index.isKnownLost(id)) this.#mended.pages += 1;
    return id;
  }

  #report(done: number, total: number): void {
    const { pool, sink } = this.#parts;
    const slots = pool.slotCount;
    this.#meter.sample({
      source: this.#stages.reading / slots,
      processing: this.#stages.processing / slots,
      store: sink.storing >= pool.packBufferCount - 1 ? 1 : 0,
    });
    const bottleneck: Bottleneck | undefined = this.#meter.current;
    this.#request.onProgress?.({
      phase: this.#request.name,
      done: Math.min(done, total),
      total,
      read: this.#figures.read,
      stored: this.#figures.stored,
      ...(bottleneck === undefined ? {} : { bottleneck }),
    });
  }
}

/** The runs of chunks to read in a leaf's plan, none longer than `most`. */
function* runsOf(planned: Uint8Array, most: number): Generator<{ start: number; count: number }> {
  let start = 0;
  while (start < planned.length) {
    let count = 0;
    while (count < most && planned[start + count] === chunkPlan.read) count += 1;
    if (count > 0) yield { start, count };
    start += Math.max(1, count);
  }
}

/** Whatever goes wrong at the source is told as such, unless it says more precisely what it is. */
function sourceError(error: unknown, doing: string): PrimaError {
  const found = toPrimaError(error, doing);
  if (found.code !== 'io' && found.code !== 'not-found') return found;
  return new PrimaError('source-changed', `${doing}: ${found.message}`, { cause: error });
}
