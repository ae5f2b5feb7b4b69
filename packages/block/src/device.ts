/**
 * The trunk of Prima: everything that holds a disk is a BlockDevice, and everything that moves a
 * disk takes one device and gives its bytes to another.
 */
import type { Range } from '@prima/base';

export type { Range } from '@prima/base';

/** `data` may hold anything; `zero` reads as zeros; `hole` reads as zeros and takes no space. */
export type ExtentKind = 'data' | 'zero' | 'hole';

export interface Extent extends Range {
  kind: ExtentKind;
}

export interface ExtentOptions {
  signal?: AbortSignal;
}

export interface BlockDevice {
  /** Bytes, a multiple of 512, fixed while the device is open. */
  readonly size: number;
  /** Preferred size of an I/O, bytes, a power of two. */
  readonly blockSize: number;
  /**
   * What is where in `range`: ascending, gapless, clipped to the range, neighbours of one kind
   * merged. `data` where the device cannot tell. A device that knows nothing yields one `data` extent.
   */
  extents(range: Range, options?: ExtentOptions): AsyncIterable<Extent>;
  /**
   * Fills `into` from `offset`; the whole of it, or raises. Any alignment. Many calls may be under
   * way at once. `into` may lie in shared memory.
   */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Writes all of `from`. Absent on a read-only device. Overlapping writes must not be in flight together. */
  write?(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** Makes `range` read as zeros, freeing space where possible. Absent on a read-only device. */
  zero?(range: Range, signal?: AbortSignal): Promise<void>;
  /** Everything written before the call is durable when it resolves. */
  flush?(): Promise<void>;
  /** Frees what the device holds; may be called again. Does not flush. */
  close(): Promise<void>;
}

/** A device that can be written: all optional operations are there. */
export interface WritableDevice extends BlockDevice {
  write(offset: number, from: Uint8Array, signal?: AbortSignal): Promise<void>;
  zero(range: Range, signal?: AbortSignal): Promise<void>;
  flush(): Promise<void>;
}
