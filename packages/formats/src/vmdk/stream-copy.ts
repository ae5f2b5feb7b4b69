/** Takes the grains out of a streamed VMDK: as they come, or onto a device. Threads decompress. */
import {
  alignDown,
  alignUp,
  assert,
  forEachBounded,
  GiB,
  inOrder,
  isZero,
  MiB,
  type ProgressListener,
  type Range,
  UserError,
} from '@prima/base';
import type { WritableDevice } from '@prima/block';
import { mostGrainData } from './stream-codec.ts';
import { type Slot, StreamPool } from './stream-pool.ts';
import type { VmdkStream } from './stream-reader.ts';

export interface StreamReadOptions {
  /** Threads that decompress. Default: as many as the machine runs side by side, 8 at most; 0: on the caller's. */
  workers?: number;
}

export interface StreamGrain {
  /** Where it lies on the disk, bytes. */
  offset: number;
  /** A whole grain, but for the last one, which ends with the disk. Valid until the next grain is asked for. */
  bytes: Uint8Array;
}

/** The grains of a stream in ascending order; what none covers is zeros. Closes the stream. Raises as it does. */
export async function* readGrains(
  stream: VmdkStream,
  options: StreamReadOptions = {},
): AsyncGenerator<StreamGrain> {
  const { grainBytes } = stream;
  await using pool = poolFor(stream, options);
  const inflate = async (batch: Batch) => ({ batch, slot: await inflated(batch, { pool, stream }) });
  for await (const { batch, slot } of inOrder(batchesOf(stream), pool.slotCount - 1, inflate)) {
    for (let at = 0; at < batch.length; at += grainBytes) {
      yield {
        offset: batch.offset + at,
        bytes: slot.bytes.subarray(at, Math.min(at + grainBytes, batch.length)),
      };
    }
    slot.release();
  }
}

export interface StreamCopyOptions extends StreamReadOptions {
  /** The target is known to read as zeros, so that nothing has to be done where the stream has no grain. Default false. */
  targetIsZero?: boolean;
  signal?: AbortSignal;
  /** `done` says how far on the disk, `read` how many bytes of grains. */
  onProgress?: ProgressListener;
}

/**
 * Makes `target`, which is at least as large, hold what the stream does, and closes the stream. The target is not
 * flushed. Raises `usage` for a target that is too small, `cancelled`, what the stream and the target raise; the
 * target is then in part written.
 */
export async function copyVmdkStream(
  stream: VmdkStream,
  target: WritableDevice,
  options: StreamCopyOptions = {},
): Promise<{ read: number; written: number }> {
  const { targetIsZero = false, signal, onProgress } = options;
  await using resources = new AsyncDisposableStack();
  resources.defer(() => stream.close());
  if (target.size < stream.size) {
    throw new UserError('usage', `${stream.name} holds ${stream.size} bytes, the target only ${target.size}`);
  }
  const pool = resources.use(poolFor(stream, options));
  const copier = new Copier(stream, target, pool);
  const work = targetIsZero ? batchesOf(stream) : withGaps(batchesOf(stream), stream.size);
  await forEachBounded(
    work,
    pool.slotCount,
    async (item, inner) => {
      if ('data' in item) await copier.copy(item, inner);
      else await target.zero(item, inner);
      const done = item.offset + item.length;
      onProgress?.({
        phase: 'copying',
        done,
        total: stream.size,
        read: copier.read,
        stored: copier.written,
      });
    },
    signal,
  );
  return { read: copier.read, written: copier.written };
}

class Copier {
  read = 0;
  written = 0;
  readonly #stream: VmdkStream;
  readonly #target: WritableDevice;
  readonly #pool: StreamPool;

  constructor(stream: VmdkStream, target: WritableDevice, pool: StreamPool) {
    this.#stream = stream;
    this.#target = target;
    this.#pool = pool;
  }

  async copy(batch: Batch, signal: AbortSignal): Promise<void> {
    const slot = await inflated(batch, { pool: this.#pool, stream: this.#stream });
    try {
      this.read += batch.length;
      const bytes = slot.bytes.subarray(0, batch.length);
      // there are writers that keep grains of zeros
      for (const run of runsOf(bytes, this.#stream.grainBytes)) await this.#put(batch.offset, run, signal);
    } finally {
      slot.release();
    }
  }

  async #put(offset: number, { start, bytes, zero }: Run, signal: AbortSignal): Promise<void> {
    const range = { offset: offset + start, length: bytes.length };
    if (zero) {
      await this.#target.zero(range, signal);
    } else {
      await this.#target.write(range.offset, bytes, signal);
      this.written += bytes.length;
    }
  }
}

interface Run {
  start: number;
  bytes: Uint8Array;
  zero: boolean;
}

/** Grains that are zeros or not, those of one kind together. */
function* runsOf(bytes: Uint8Array, grainBytes: number): Generator<Run> {
  for (let start = 0; start < bytes.length; ) {
    const zero = isZero(bytes.subarray(start, start + grainBytes));
    let end = Math.min(start + grainBytes, bytes.length);
    while (end < bytes.length && isZero(bytes.subarray(end, end + grainBytes)) === zero) {
      end = Math.min(end + grainBytes, bytes.length);
    }
    yield { start, bytes: bytes.subarray(start, end), zero };
    start = end;
  }
}

/** Grains that lie side by side on the disk. */
interface Batch extends Range {
  data: Uint8Array<ArrayBuffer>;
  sizes: number[];
  places: number[];
  /** Takes the memory of `data` for another batch. */
  giveBack: (memory: ArrayBuffer) => void;
}

const mostBatchBytes = MiB;

/** Whole grains, and no more than the disk has. */
function batchBytesOf({ grainBytes, size }: VmdkStream): number {
  return Math.max(grainBytes, Math.min(mostBatchBytes, alignUp(size, grainBytes)));
}

function poolFor(stream: VmdkStream, { workers }: StreamReadOptions): StreamPool {
  return new StreamPool({ slotBytes: batchBytesOf(stream), workers });
}

/** The packed grains in pieces of 1 MiB of the disk, for one job each, each in memory of its own. */
async function* batchesOf(stream: VmdkStream): AsyncGenerator<Batch> {
  const perBatch = batchBytesOf(stream) / stream.grainBytes;
  const roomBytes = perBatch * mostGrainData(stream.grainBytes);
  let batch: BatchInWork | undefined;
  let full: Batch | undefined;
  const free: ArrayBuffer[] = [];
  const giveBack = (memory: ArrayBuffer) => void free.push(memory);
  // not filled first: what is not written is not looked at
  const newRoom = () => Buffer.from(free.pop() ?? Buffer.allocUnsafeSlow(roomBytes).buffer);
  const place = (offset: number, size: number): Uint8Array => {
    if (batch && (batch.sizes.length === perBatch || offset !== batch.offset + batch.length)) {
      full = wholeBatch(batch);
      batch = undefined;
    }
    batch ??= { offset, length: 0, sizes: [], places: [], room: newRoom(), used: 0, giveBack };
    return batch.room.subarray(batch.used, batch.used + size);
  };
  for await (const { offset, at, data } of stream.grains(place)) {
    if (full) yield full;
    full = undefined;
    if (!batch) continue;
    batch.used += data.length;
    batch.sizes.push(data.length);
    batch.places.push(at);
    batch.length += stream.coveredAt(offset);
  }
  if (batch) yield wholeBatch(batch);
}

interface BatchInWork extends Omit<Batch, 'data'> {
  room: Buffer<ArrayBuffer>;
  used: number;
}

function wholeBatch({ room, used, ...batch }: BatchInWork): Batch {
  return { ...batch, data: room.subarray(0, used) };
}

const zeroStep = GiB;

/** The batches, and what lies between them in pieces of 1 GiB at most. */
async function* withGaps(batches: AsyncIterable<Batch>, size: number): AsyncGenerator<Batch | Range> {
  let position = 0;
  for await (const batch of batches) {
    yield* gap(position, batch.offset);
    yield batch;
    position = batch.offset + batch.length;
  }
  yield* gap(position, size);
}

function* gap(start: number, end: number): Generator<Range> {
  for (let offset = start; offset < end; ) {
    const stop = Math.min(alignDown(offset, zeroStep) + zeroStep, end);
    yield { offset, length: stop - offset };
    offset = stop;
  }
}

/** Decompresses a batch into a slot, which the caller releases. */
async function inflated(batch: Batch, at: { pool: StreamPool; stream: VmdkStream }): Promise<Slot> {
  const { pool, stream } = at;
  const { sizes, places, data, length } = batch;
  const { grainBytes, name } = stream;
  assert(sizes.length > 0, 'a batch has grains');
  const lastBytes = length - (sizes.length - 1) * grainBytes;
  const slot = await pool.slot();
  try {
    const work = {
      op: 'inflate' as const,
      slot: slot.index,
      grainBytes,
      data,
      sizes,
      places,
      lastBytes,
      name,
    };
    const { records } = await pool.run(work, [data.buffer]);
    batch.giveBack(records.buffer);
    return slot;
  } catch (error) {
    slot.release();
    throw error;
  }
}
