/** Disk images of every format that QEMU reads, as block devices: a private qemu-nbd and a connection. */
import { join } from 'node:path';
import {
  assert,
  PrimaError,
  systemClock,
  systemErrorCode,
  throwIfAborted,
  toPrimaError,
  withShortSocketPath,
} from '@prima/base';
import type { BlockDevice, Extent, ExtentOptions, Range, WritableDevice } from '@prima/block';
import type { DiskFormat } from '@prima/formats';
import { type BlockStatus, connectNbd, type NbdDevice, type WritableNbdDevice } from '@prima/nbd';
import { explainComplaint } from './block-tool.ts';
import { type GuardedProgram, guardedFailure, guardedFolderName, startGuarded } from './guarded.ts';
import { graphName, imageChain, type ImageFile, topName } from './image-chain.ts';

export interface OpenImageOptions {
  /** Always said, never guessed; `detectFormat` of the formats package finds it out safely. */
  format: DiskFormat;
  /** Default false. */
  writable?: boolean;
  /** A dirty bitmap in the image: its ranges are then in `dirtyRanges(bitmap)`. */
  bitmap?: string;
  /** An internal snapshot of a qcow2 image to be read in place of its present state. */
  snapshot?: string;
  /** False raises `unsupported` for an image that has a backing or data file. Default true. */
  allowBacking?: boolean;
  /**
   * Only what the image holds itself: its backing file is not opened, and the context `qemu:allocation-depth` tells what
   * is its own (1) from what is not (0). Default false.
   */
  ownOnly?: boolean;
  /** NBD connections. Default 4, and 1 when writable. */
  connections?: number;
  /** Where the private folder goes. Default: the user's runtime folder. */
  runtimeFolder?: string;
  /** For qemu-nbd to open the image. Default 60 s. */
  timeoutMs?: number;
  /** Gives up opening; has no meaning once the device is open. */
  signal?: AbortSignal;
}

const socketName = 'nbd.sock';
/** docs/interop/nbd.txt of QEMU. */
export const allocationDepth = 'qemu:allocation-depth';

/** An image that is open for reading. `close` ends qemu-nbd and removes its folder. */
export class ImageDevice implements BlockDevice {
  readonly size: number;
  readonly blockSize: number;
  /** Every file that is read, the image first. */
  readonly chain: readonly ImageFile[];
  /** The meta contexts that can be asked for in `blockStatus`. */
  readonly contexts: readonly string[];
  readonly #nbd: NbdDevice;
  readonly #guarded: GuardedProgram;

  constructor(nbd: NbdDevice, guarded: GuardedProgram, chain: readonly ImageFile[]) {
    this.size = nbd.size;
    this.blockSize = nbd.blockSize;
    this.contexts = nbd.contexts;
    this.chain = chain;
    this.#nbd = nbd;
    this.#guarded = guarded;
  }

  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#nbd.read(offset, into, signal);
  }

  extents(range: Range, options?: ExtentOptions): AsyncIterable<Extent> {
    return this.#nbd.extents(range, options);
  }

  /** See `NbdDevice.blockStatus`. */
  blockStatus(range: Range, context: string, options?: ExtentOptions): AsyncIterable<BlockStatus> {
    return this.#nbd.blockStatus(range, context, options);
  }

  /** The ranges that the bitmap named when opening marks as changed. */
  dirtyRanges(bitmap: string, range?: Range, signal?: AbortSignal): Promise<Range[]> {
    return this.#nbd.dirtyRanges(bitmap, range, signal);
  }

  async close(): Promise<void> {
    try {
      await this.#nbd.close();
    } finally {
      await this.#guarded.close();
    }
  }
}

/** An image that is open for writing. `close` also has qemu-nbd write what it still holds. */
export class WritableImageDevice extends ImageDevice implements WritableDevice {
  readonly #nbd: WritableNbdDevice;

  constructor(nbd: WritableNbdDevice, guarded: GuardedProgram, chain: readonly ImageFile[]) {
    super(nbd, guarded, chain);
    this.#nbd = nbd;
  }

  write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void> {
    return this.#nbd.write(offset, from, signal);
  }

  zero(range: Range, signal?: AbortSignal): Promise<void> {
    return this.#nbd.zero(range, signal);
  }

  flush(): Promise<void> {
    return this.#nbd.flush();
  }
}

/**
 * Opens an image through qemu-nbd on a socket in a private folder; program and folder are gone when the
 * device is closed, and within a moment when our process dies in any way.
 * Raises `busy` when another process has the image open for writing (or at all, when `writable`), `format`,
 * `state` (the bitmap cannot be used any more), `not-found`, `permission`, `unsupported`,
 * `missing-program`, `timeout`, `cancelled`.
 */
export async function openWithQemu(
  path: string,
  options: OpenImageOptions & { writable: true },
): Promise<WritableImageDevice>;
export async function openWithQemu(path: string, options: OpenImageOptions): Promise<ImageDevice>;
export async function openWithQemu(path: string, options: OpenImageOptions): Promise<ImageDevice> {
  const { format, signal, allowBacking, ownOnly = false } = options;
  const doing = `opening ${path} as ${format}`;
  throwIfAborted(signal, doing);
  const chain = await imageChain(path, format, { allowBacking, signal });
  return openServed(ownOnly ? topName(chain) : graphName(chain), chain, { ...options, doing });
}

type ServedOptions = OpenImageOptions & { doing: string };

/** Has qemu-nbd serve what `name`, a graph in QEMU's words, stands for. Raises what `openWithQemu` does. */
export async function openServed(
  name: string,
  chain: readonly ImageFile[],
  options: ServedOptions & { writable: true },
): Promise<WritableImageDevice>;
export async function openServed(
  name: string,
  chain: readonly ImageFile[],
  options: ServedOptions,
): Promise<ImageDevice>;
export async function openServed(
  name: string,
  chain: readonly ImageFile[],
  options: ServedOptions,
): Promise<ImageDevice> {
  const { doing, runtimeFolder } = options;
  const args = serverArguments(name, options);
  const guarded = await startGuarded('qemu-nbd', args, { folder: guardedFolderName(runtimeFolder) });
  try {
    return await connect(guarded, chain, options);
  } catch (error) {
    await guarded.close();
    throw toPrimaError(error, doing);
  }
}

function serverArguments(name: string, options: OpenImageOptions): string[] {
  const { writable = false, bitmap, snapshot, ownOnly = false } = options;
  assert(!(writable && snapshot !== undefined), 'a snapshot is only read');
  return [
    '--persistent',
    '--shared=16',
    `--socket=/proc/self/cwd/${socketName}`, // absolute, as qemu-nbd wants it, and short
    '--discard=unmap',
    ...(writable ? [] : ['--read-only']),
    ...(ownOnly ? ['--allocation-depth'] : []),
    ...(bitmap === undefined ? [] : [`--bitmap=${bitmap}`]),
    ...(snapshot === undefined ? [] : [`--load-snapshot=${snapshot}`]),
    '--',
    name,
  ];
}

async function connect(
  guarded: GuardedProgram,
  chain: readonly ImageFile[],
  options: ServedOptions,
): Promise<ImageDevice> {
  const { writable = false, ownOnly = false, bitmap, signal, doing, timeoutMs = 60_000 } = options;
  const settings = {
    connections: options.connections ?? (writable ? 1 : 4),
    contexts: [
      ...(bitmap === undefined ? [] : [`qemu:dirty-bitmap:${bitmap}`]),
      ...(ownOnly ? [allocationDepth] : []),
    ],
    connectTimeoutMs: timeoutMs,
    signal,
  };
  const open = async (socketPath: string) => {
    if (!writable) return new ImageDevice(await connectNbd({ socketPath }, settings), guarded, chain);
    const nbd = await connectNbd({ socketPath }, { ...settings, writable: true });
    return new WritableImageDevice(nbd, guarded, chain);
  };
  const end = systemClock.monotonic() + timeoutMs;
  for (let pauseMs = 2; ; pauseMs = Math.min(50, pauseMs * 2)) {
    try {
      return await withShortSocketPath(join(guarded.folder, socketName), open);
    } catch (error) {
      throwIfAborted(signal, doing);
      // it listens before it opens the image: a failure to do so shows as a lost connection
      const early = isNotListening(error) && systemClock.monotonic() < end;
      if (await endsWithin(guarded, early ? pauseMs : 1000)) {
        throw explainComplaint(guardedFailure('qemu-nbd', guarded), doing);
      }
      if (!early) throw error;
    }
  }
}

/** No folder or socket yet, or a socket that is bound but not listened at. */
function isNotListening(error: unknown): boolean {
  if (!(error instanceof PrimaError)) return false;
  return error.code === 'not-found' || systemErrorCode(error.cause) === 'ECONNREFUSED';
}

async function endsWithin(guarded: GuardedProgram, ms: number): Promise<boolean> {
  const stop = new AbortController();
  const pause = systemClock.sleep(ms, stop.signal).then(
    () => false,
    () => false,
  );
  const ended = await Promise.race([guarded.ended.then(() => true), pause]);
  stop.abort();
  return ended;
}
