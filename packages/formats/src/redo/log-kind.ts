/** What the state machine of redo logs (redo-stack.ts) asks of a kind of log. All paths are absolute. */
import type { Progress, Range } from '@prima/base';
import type { WritableDevice } from '@prima/block';
import type { RedoKind } from './record.ts';

/** What one log holds itself, without what is beneath it. Closing it closes its files. */
export interface OwnContent {
  readonly size: number;
  /** Ascending, disjoint: what the log holds, as data or as zeros. */
  runs(signal?: AbortSignal): AsyncIterable<Range & { kind: 'data' | 'zero' }>;
  /** Within a run of data. */
  read(offset: number, into: Uint8Array, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface LogOptions {
  signal?: AbortSignal;
}

export interface MergeOptions extends LogOptions {
  onProgress?: (progress: Progress) => void;
}

/** Where a log stands: `log` over `beneath`. */
export interface LogPlace {
  log: string;
  beneath: string;
}

export interface LogKind {
  readonly kind: RedoKind;
  /** Logs over one disk at most. */
  readonly limit: number;
  /** The names of the files that a log called `name` has, what is opened first. */
  files(name: string): [string, ...string[]];
  /** Makes an empty log; the file called `log` is the last to be whole. Durable. Raises `exists`, `no-space`. */
  create(place: LogPlace, options?: LogOptions): Promise<void>;
  /** True when `create` came to its end. */
  isWhole(log: string): Promise<boolean>;
  own(log: string, options?: LogOptions): Promise<OwnContent>;
  /** What is beneath, to be written to while logs over it stay valid. Raises `busy`. */
  openBeneath(path: string, options?: LogOptions): Promise<WritableDevice>;
  /** What is beneath holds what the log holds: `above`, where there is one, stands on it from now on. May be repeated. */
  close(place: LogPlace, above: string | undefined, options?: LogOptions): Promise<void>;
}
