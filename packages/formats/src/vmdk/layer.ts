/**
 * What chains are made of. A layer is like a block device, but it need not hold everything: what is `absent` comes
 * from the layer below (the parent), and from nowhere, as zeros, at the bottom.
 */
import type { Range } from '@prima/base';
import type { ExtentKind } from '@prima/block';

export type LayerKind = ExtentKind | 'absent';

export interface LayerRun extends Range {
  kind: LayerKind;
}

export interface Layer {
  /** Bytes, a multiple of 512. */
  readonly size: number;
  readonly blockSize: number;
  /**
   * What is at the beginning of `range` (not empty, within the size): gapless from `range.offset` on, at least one
   * run. It may stop before the range ends, so that one call takes bounded time and memory.
   */
  runs(range: Range, signal?: AbortSignal): Promise<LayerRun[]>;
  /** Fills what of `into` this layer holds, and gives the ranges (ascending) that it does not. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<Range[]>;
  close(): Promise<void>;
}

/** What lies below a layer that is written; asked where a block is written in part. */
export interface Below {
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  /** True when the range is known, without reading data, to be zeros. */
  isZero(range: Range, signal?: AbortSignal): Promise<boolean>;
}

export interface WritableLayer extends Layer {
  write(offset: number, from: Uint8Array, below: Below, signal?: AbortSignal): Promise<void>;
  zero(range: Range, below: Below, signal?: AbortSignal): Promise<void>;
  /** All that was written is durable, and found again, when it resolves. */
  flush(): Promise<void>;
}

export function isWritableLayer(layer: Layer): layer is WritableLayer {
  return 'write' in layer;
}

/** At the bottom of every chain. */
export const nothingBelow: Below = {
  read: async (_offset, into) => {
    into.fill(0);
  },
  isZero: async () => true,
};
