/** Copies what one device holds to another, holes as holes. */
import {
  alignDown,
  assertWithin,
  forEachBounded,
  GiB,
  isZero,
  KiB,
  MiB,
  pageMemory,
  type ProgressListener,
  type Range,
  throwIfAborted,
} from '@prima/base';
import type { BlockDevice, WritableDevice } from './device.ts';

export interface CopyOptions {
  /** What to copy, to the same place. Default: all of the source. */
  range?: Range;
  /** Bytes per read. Default 4 MiB: fewer calls, and a disk that is slow to answer has enough under way. */
  blockBytes?: number;
  /** Blocks under way at once, each with a buffer of its own. Default 4. */
  concurrency?: number;
  /** Looks for zeros in what was read and does not write them, in pieces of 64 KiB. Default true. */
  skipZeros?: boolean;
  /** The target is known to read as zeros, so zeros need nothing done. Default false. */
  targetIsZero?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

export interface CopyResult {
  /** Bytes read from the source, and of these written to the target. */
  read: number;
  written: number;
}

const zeroPiece = 64 * KiB;
const zeroStep = GiB;
const blockBytesDefault = 4 * MiB;

/**
 * Makes `target` hold in `range` what `source` does. The target is not flushed. Raises `cancelled` and
 * whatever the devices raise; the target is then in part written.
 */
export async function copyDevice(
  source: BlockDevice,
  target: WritableDevice,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const { range = { offset: 0, length: source.size }, concurrency = 4, signal, onProgress } = options;
  assertWithin(range, source.size);
  assertWithin(range, target.size);
  const copier = new Copier(source, target, options);
  let done = 0;
  const work = workOf(source, range, options.blockBytes ?? blockBytesDefault, signal);
  await forEachBounded(
    work,
    concurrency,
    async (item, inner) => {
      if (item.zero) await copier.zero(item, inner);
      else await copier.copy(item, inner);
      done += item.length;
      onProgress?.({
        phase: 'copying',
        done,
        total: range.length,
        read: copier.read,
        stored: copier.written,
      });
    },
    signal,
  );
  throwIfAborted(signal, 'copying a disk');
  return { read: copier.read, written: copier.written };
}

interface Work extends Range {
  zero: boolean;
}

/** Extents cut into pieces of work, whose ends lie on whole blocks. */
async function* workOf(
  source: BlockDevice,
  range: Range,
  blockBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Work> {
  for await (const { kind, ...extent } of source.extents(range, { signal })) {
    const zero = kind !== 'data';
    const step = zero ? zeroStep : blockBytes;
    const end = extent.offset + extent.length;
    for (let offset = extent.offset; offset < end; ) {
      const stop = Math.min(alignDown(offset, step) + step, end);
      yield { offset, length: stop - offset, zero };
      offset = stop;
    }
  }
}

class Copier {
  read = 0;
  written = 0;
  readonly #source: BlockDevice;
  readonly #target: WritableDevice;
  readonly #options: CopyOptions;
  /** Buffers that no block uses just now; as many as blocks are under way at most. */
  readonly #buffers: Uint8Array[] = [];

  constructor(source: BlockDevice, target: WritableDevice, options: CopyOptions) {
    this.#source = source;
    this.#target = target;
    this.#options = options;
  }

  async zero(range: Range, signal: AbortSignal): Promise<void> {
    if (this.#options.targetIsZero !== true) await this.#target.zero(range, signal);
  }

  async copy({ offset, length }: Range, signal: AbortSignal): Promise<void> {
    // shared, so that sources whose threads make the bytes can put them there without a copy
    const buffer = this.#buffers.pop() ?? pageMemory(this.#options.blockBytes ?? blockBytesDefault);
    const bytes = buffer.subarray(0, length);
    await this.#source.read(offset, bytes, signal);
    this.read += length;
    for (const { start, end, zero } of zeroRuns(bytes, offset, this.#options.skipZeros ?? true)) {
      if (zero) {
        await this.zero({ offset: offset + start, length: end - start }, signal);
      } else {
        await this.#target.write(offset + start, bytes.subarray(start, end), signal);
        this.written += end - start;
      }
    }
    this.#buffers.push(buffer);
  }
}

/** Cuts bytes into runs of pieces (on 64 KiB boundaries of the disk) that are all zeros, or not. */
function* zeroRuns(
  bytes: Uint8Array,
  offset: number,
  look: boolean,
): Generator<{ start: number; end: number; zero: boolean }> {
  let run = { start: 0, end: 0, zero: false };
  while (run.end < bytes.length) {
    const start = run.end;
    const end = look
      ? Math.min(alignDown(offset + start, zeroPiece) + zeroPiece - offset, bytes.length)
      : bytes.length;
    const zero = look && isZero(bytes.subarray(start, end));
    if (zero === run.zero) {
      run.end = end;
      continue;
    }
    if (start > run.start) yield run;
    run = { start, end, zero };
  }
  if (run.end > run.start) yield run;
}
