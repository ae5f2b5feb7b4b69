/**
 * zstd frames (RFC 8878) for whole chunks: from one piece of memory into another, with a context that is kept, and
 * with parameters made for chunks. `node:zlib` gets a new context and new memory for each call, which costs a quarter of
 * the time of the compression itself and of the opening twice as much as that; so the zstd that is in Node already is
 * called by its own C interface (zstd.h of zstd 1.5). Where that cannot be done, `node:zlib` does it, and `reason` says
 * why. Both write and read the same format, each in its own way: the frames differ.
 */
import { createRequire } from 'node:module';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { assert, FormatError, KiB, PrimaError } from '@prima/base';
import { directly } from '../direct.ts';

/** One thread's zstd; nothing is shared with other threads. */
export interface Zstd {
  /** Why `node:zlib` is used instead of zstd itself; undefined when it is not. */
  readonly reason: string | undefined;
  /**
   * Compresses `plain` into `into` at level `level`.
   * @returns the frame's length, or undefined when it has no room
   */
  compress(plain: Uint8Array, into: Uint8Array, level: number): number | undefined;
  /** Fills `into` from `frame`. Raises `format` when the frame is damaged or holds more or fewer bytes. */
  decompress(frame: Uint8Array, into: Uint8Array): void;
}

/** This thread's zstd for pieces of so many plain bytes. */
export const zstdFor = directly<Zstd>({
  name: 'zstd',
  plain: plainZstd,
  native: () => new NativeZstd(),
});

/** zstd through `node:zlib`. */
export function plainZstd(reason: string): Zstd {
  return {
    reason,
    compress: (plain, into, level) => {
      const params = { ...chunkParameters(plain.length, level) };
      const frame = zstdCompressSync(plain, { chunkSize: plain.length + 4096, params });
      if (frame.length > into.length) return undefined;
      into.set(frame);
      return frame.length;
    },
    decompress: (frame, into) => {
      let plain: Buffer;
      try {
        // when its output is just full, Node gets memory for more
        const room = { chunkSize: into.length + 64, maxOutputLength: Math.max(64, into.length) };
        plain = zstdDecompressSync(frame, room);
      } catch (error) {
        throw new FormatError('the zstd frame is damaged', { cause: error });
      }
      assertWhole(plain.length, into.length);
      into.set(plain);
    },
  };
}

/**
 * Level 1 for pieces of about a mebibyte: the window is all of the piece, the hash table has 2^15 entries instead of
 * 2^14, and matches begin at six bytes instead of seven. On a file system's files this takes as long as plain
 * level 1 and leaves 3 % less (docs/operating/benchmarks.md). Other levels are zstd's own.
 */
function chunkParameters(length: number, level: number): Record<number, number> {
  const parameters = { [constants.ZSTD_c_compressionLevel]: level };
  if (level !== 1 || length < 256 * KiB) return parameters;
  return {
    ...parameters,
    [constants.ZSTD_c_windowLog]: Math.min(22, Math.ceil(Math.log2(length))),
    [constants.ZSTD_c_hashLog]: 15,
    [constants.ZSTD_c_minMatch]: 6,
  };
}

/** Errors are the highest values of a size_t: their negated code (zstd_errors.h). */
const firstError = 2 ** 64 - 4096;
/** Returned when the target has no room: ZSTD_error_dstSize_tooSmall. */
const noRoom = 70;
/** ZSTD_reset_session_and_parameters. */
const resetAll = 3;
/** The first version whose static contexts and parameters are those below. */
const leastVersion = 1_05_00;

class NativeZstd implements Zstd {
  readonly reason = undefined;
  readonly #library = loadLibrary();
  /** Contexts lie in memory of ours, so that they go with the thread. */
  #compressor: { memory: Uint8Array; level: number; length: number } | undefined;
  readonly #decompressor: Uint8Array;

  constructor() {
    const { versionNumber, estimateDCtxSize, initStaticDCtx } = this.#library;
    const version = versionNumber();
    if (version < leastVersion) throw new PrimaError('state', `its version is ${version}`);
    this.#decompressor = new Uint8Array(Number(estimateDCtxSize()));
    if (initStaticDCtx(this.#decompressor, this.#decompressor.length) === null)
      throw new PrimaError('state', 'it takes no memory for opening');
  }

  compress(plain: Uint8Array, into: Uint8Array, level: number): number | undefined {
    const context = this.#context(plain.length, level);
    const result = this.#library.compress2(context, into, into.length, plain, plain.length);
    const code = errorCode(result);
    if (code === noRoom) return undefined;
    if (code !== undefined) throw new PrimaError('internal', `zstd does not compress (its error ${code})`);
    return Number(result);
  }

  decompress(frame: Uint8Array, into: Uint8Array): void {
    const { decompressDCtx } = this.#library;
    const result = decompressDCtx(this.#decompressor, into, into.length, frame, frame.length);
    const code = errorCode(result);
    if (code !== undefined)
      throw new FormatError(`the zstd frame is damaged or too long (zstd's error ${code})`);
    assertWhole(Number(result), into.length);
  }

  /** Compresses and opens a little, so that whatever does not fit is found here. */
  tryOut(): void {
    const plain = new Uint8Array(512 * KiB);
    for (let index = 0; index < 8 * KiB; index += 1) plain[index] = (index * index) >> 9;
    for (let end = 8 * KiB; end < plain.length; end *= 2) plain.copyWithin(end, 0, end);
    const frame = new Uint8Array(plain.length);
    const again = new Uint8Array(plain.length);
    const length = this.compress(plain, frame, 1);
    assert(length !== undefined && length < plain.length, 'what repeats itself is compressed');
    this.decompress(frame.subarray(0, length), again);
    if (Buffer.compare(plain, again) !== 0)
      throw new PrimaError('state', 'it does not give back what it got');
  }

  #context(length: number, level: number): Uint8Array {
    if (this.#compressor?.level === level && this.#compressor.length === length)
      return this.#compressor.memory;
    const { estimateCCtxSize, initStaticCCtx, reset, setParameter } = this.#library;
    // the parameters for chunks take up to half a mebibyte more than the level's own
    const size = Number(estimateCCtxSize(level)) + 512 * KiB;
    const isKept = this.#compressor !== undefined && this.#compressor.memory.length === size;
    const memory = isKept && this.#compressor ? this.#compressor.memory : new Uint8Array(size);
    if (!isKept && initStaticCCtx(memory, memory.length) === null)
      throw new PrimaError('state', `it takes no memory for level ${level}`);
    if (isKept) succeed(reset(memory, resetAll), 'resetting');
    for (const [parameter, value] of Object.entries(chunkParameters(length, level)))
      succeed(setParameter(memory, Number(parameter), value), `setting parameter ${parameter}`);
    this.#compressor = { memory, level, length };
    return memory;
  }
}

function succeed(result: number | bigint, doing: string): void {
  const code = errorCode(result);
  if (code !== undefined) throw new PrimaError('state', `${doing} fails with zstd's error ${code}`);
}

function errorCode(result: number | bigint): number | undefined {
  return result < firstError ? undefined : Number(2n ** 64n - BigInt(result));
}

function assertWhole(found: number, wanted: number): void {
  if (found !== wanted) throw new FormatError(`the zstd frame holds ${found} bytes, wanted ${wanted}`);
}

type Size = number | bigint;

type Call = [context: Uint8Array, into: Uint8Array, room: number, from: Uint8Array, length: number];

/** The functions of zstd.h by their names without the prefix; memory is passed by its address. */
interface Library {
  versionNumber: () => number;
  estimateCCtxSize: (level: number) => Size;
  estimateDCtxSize: () => Size;
  initStaticCCtx: (memory: Uint8Array, size: number) => unknown;
  initStaticDCtx: (memory: Uint8Array, size: number) => unknown;
  reset: (context: Uint8Array, directive: number) => Size;
  setParameter: (context: Uint8Array, parameter: number, value: number) => Size;
  compress2: (...values: Call) => Size;
  decompressDCtx: (...values: Call) => Size;
}

function loadLibrary(): Library {
  const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  const process = koffi.load(null);
  const call = (prototype: string) => process.func(prototype) as never;
  return {
    versionNumber: call('unsigned int ZSTD_versionNumber()'),
    estimateCCtxSize: call('size_t ZSTD_estimateCCtxSize(int)'),
    estimateDCtxSize: call('size_t ZSTD_estimateDCtxSize()'),
    initStaticCCtx: call('void *ZSTD_initStaticCCtx(void *, size_t)'),
    initStaticDCtx: call('void *ZSTD_initStaticDCtx(void *, size_t)'),
    reset: call('size_t ZSTD_CCtx_reset(void *, int)'),
    setParameter: call('size_t ZSTD_CCtx_setParameter(void *, int, int)'),
    compress2: call('size_t ZSTD_compress2(void *, void *, size_t, const void *, size_t)'),
    decompressDCtx: call('size_t ZSTD_decompressDCtx(void *, void *, size_t, const void *, size_t)'),
  };
}
