/** What the contract says of machines that run from a repository: see docs/operating/instant-recovery.md. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { MachineDto, type MachineRequest } from './machines.ts';
import { PointDto } from './points.ts';
import { elapsed, name, place, pointName } from './values.ts';

export const AttendRequest = z.strictObject({
  /** Default true; otherwise the call serves until its signal aborts. */
  move: z.boolean().optional(),
  /** Bytes a second at most for the moving. */
  moveRate: z.int().min(1).optional().meta({ description: 'bytes a second' }),
  /** Serve zeros where the point cannot be read. Without it the machine waits there. */
  allowDamaged: z.boolean().optional(),
});
export type AttendRequest = z.infer<typeof AttendRequest>;

export const RecoverRequest = AttendRequest.extend({
  point: pointName,
  host: name,
  as: name.optional(),
  /** The host's storage pool that all disks end in; default: where they were. */
  pool: name.optional(),
});
export type RecoverRequest = z.infer<typeof RecoverRequest>;

export const RecoverResumeRequest = AttendRequest.extend({
  /** `HOST/MACHINE`. */
  machine: place.meta({ description: 'HOST/MACHINE' }),
});
export type RecoverResumeRequest = z.infer<typeof RecoverResumeRequest>;

export const RecoverResult = z.object({
  point: PointDto,
  machine: MachineDto,
  /** It was begun before. */
  resumed: z.boolean(),
  /** From the call until the machine ran. */
  startedMs: elapsed,
  /** Where each disk is. */
  disks: z.array(z.object({ disk: z.string(), path: z.string() })),
  elapsedMs: elapsed,
});
export type RecoverResult = z.infer<typeof RecoverResult>;

export interface RecoverApi {
  /**
   * Answers when the machine needs Prima no more. When the signal aborts before, the machine waits until the same is asked
   * again, or `recoverResume`.
   */
  recover(request: RecoverRequest, options?: CallOptions): Promise<RecoverResult>;
  recoverResume(request: RecoverResumeRequest, options?: CallOptions): Promise<RecoverResult>;
  /** Switches the machine off and removes it, with all that its guest wrote. Answers what it was. */
  recoverCancel(request: MachineRequest, options?: CallOptions): Promise<MachineDto>;
}
