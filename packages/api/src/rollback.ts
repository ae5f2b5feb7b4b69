/** What the contract says of local rollback points: the disks' state before a patch, kept on the host. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { MachineRequest } from './machines.ts';
import { elapsed, isoTime, place } from './values.ts';

export const RollbackPointDto = z.object({
  id: z.string(),
  /** HOST/MACHINE */
  machine: z.string(),
  /** ISO 8601. */
  made: isoTime,
  /** `open`: it can be kept or undone; the others: a process is at it, or did not get to its end (see the notes). */
  phase: z.enum(['beginning', 'open', 'keeping', 'undoing']),
  quiesced: z.boolean(),
  disks: z.array(z.object({ disk: z.string(), base: z.string(), overlay: z.string() })),
  notes: z.array(z.string()),
});
export type RollbackPointDto = z.infer<typeof RollbackPointDto>;

export const RollbackBeginRequest = MachineRequest.extend({ quiesce: z.boolean().optional() });
export type RollbackBeginRequest = z.infer<typeof RollbackBeginRequest>;

export const RollbackListRequest = z.strictObject({ machine: place.optional() });
export type RollbackListRequest = z.infer<typeof RollbackListRequest>;

export const RollbackEndResult = z.object({
  machine: z.string(),
  done: z.array(z.string()),
  elapsedMs: elapsed,
});
export type RollbackEndResult = z.infer<typeof RollbackEndResult>;

export interface RollbackApi {
  /** From now on what the machine writes goes to overlays. */
  rollbackBegin(request: RollbackBeginRequest, options?: CallOptions): Promise<RollbackPointDto>;
  /** Of this machine, or of all machines of all hosts. */
  rollbackList(request: RollbackListRequest, options?: CallOptions): Promise<RollbackPointDto[]>;
  /** What was written since stays. */
  rollbackKeep(request: MachineRequest, options?: CallOptions): Promise<RollbackEndResult>;
  /** What was written since goes: the machine is switched off, and started again where it ran. */
  rollbackUndo(request: MachineRequest, options?: CallOptions): Promise<RollbackEndResult>;
}
