/** What the contract says of machines that run from a repository: see docs/operating/instant-recovery.md. */
import type { CallOptions } from './call.ts';
import type { MachineDto } from './machines.ts';
import type { PointDto } from './points.ts';

export interface AttendRequest {
  /** Default true; otherwise the call serves until its signal aborts. */
  move?: boolean;
  /** Bytes a second at most for the moving. */
  moveRate?: number;
  /** Serve zeros where the point cannot be read. Without it the machine waits there. */
  allowDamaged?: boolean;
}

export interface RecoverRequest extends AttendRequest {
  point: string;
  host: string;
  as?: string;
  /** The host's storage pool that all disks end in; default: where they were. */
  pool?: string;
}

export interface RecoverResumeRequest extends AttendRequest {
  /** `HOST/MACHINE`. */
  machine: string;
}

export interface RecoverResult {
  point: PointDto;
  machine: MachineDto;
  /** It was begun before. */
  resumed: boolean;
  /** From the call until the machine ran. */
  startedMs: number;
  /** Where each disk is. */
  disks: { disk: string; path: string }[];
  elapsedMs: number;
}

export interface RecoverApi {
  /**
   * Answers when the machine needs Prima no more. When the signal aborts before, the machine waits until the same is asked
   * again, or `recoverResume`.
   */
  recover(request: RecoverRequest, options?: CallOptions): Promise<RecoverResult>;
  recoverResume(request: RecoverResumeRequest, options?: CallOptions): Promise<RecoverResult>;
  /** Switches the machine off and removes it, with all that its guest wrote. Answers what it was. */
  recoverCancel(request: { machine: string }, options?: CallOptions): Promise<MachineDto>;
}
