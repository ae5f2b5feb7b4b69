/** What the engine asks of a host that can run machines from a repository: docs/operating/instant-recovery.md. */
import type { Logger, Progress } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { Machine, RestoreRequest } from './platform.ts';

export interface RecoveryRequest extends RestoreRequest {
  /** Ids, for who goes on later. */
  repository: string;
  point: string;
}

export interface AttendOptions {
  /** Move the disks to their place, and end when that is done; otherwise only keep the machine going, until the signal aborts. */
  move: boolean;
  /** Bytes a second at most for the moving. Default: no limit. */
  moveRate?: number;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (disk: string, progress: Progress) => void;
}

/** A machine whose disks come, in part, from exports that we serve. */
export interface RecoveringMachine {
  readonly machine: Machine;
  readonly repository: string;
  readonly point: string;
  /** By their names in the point; where each ends. */
  readonly disks: readonly { disk: string; path: string }[];
  /** What differs from the original, for people. */
  readonly notes: readonly string[];
  /**
   * Serves the disks to the machine, which waits for them where it runs. The devices stay open. Raises `busy` where
   * somebody serves them already, `permission` where we may not.
   */
  serve(devices: ReadonlyMap<string, BlockDevice>, options?: { logger?: Logger }): Promise<AsyncDisposable>;
  /** Runs it where it is off. The disks must be served. */
  start(options?: { signal?: AbortSignal }): Promise<Machine>;
  /**
   * Keeps a machine going that had to wait, and moves its disks. Resolves when it needs no export any more; then the
   * recovery is over and forgotten. Raises `cancelled` when the signal aborts, `not-found` when the machine is removed meanwhile.
   */
  attend(options: AttendOptions): Promise<void>;
  /** Switches it off and removes it with all that was made for it. */
  cancel(): Promise<void>;
}

export interface RecoveryPlatform {
  /**
   * Makes the machine, off, with disks over exports that nobody serves yet. Raises `exists` when there is a machine of that
   * name, `not-found` for a pool that is not there, `unsupported` where the host cannot reach our exports.
   */
  prepare(request: RecoveryRequest): Promise<RecoveringMachine>;
  /** Undefined where the machine is not under recovery. */
  find(machine: Machine): Promise<RecoveringMachine | undefined>;
}
