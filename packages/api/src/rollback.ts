/** What the contract says of local rollback points: the disks' state before a patch, kept on the host. */
import type { CallOptions } from './call.ts';

export interface RollbackPointDto {
  id: string;
  /** HOST/MACHINE */
  machine: string;
  /** ISO 8601. */
  made: string;
  /** `open`: it can be kept or undone; the others: a process is at it, or did not get to its end (see the notes). */
  phase: 'beginning' | 'open' | 'keeping' | 'undoing';
  quiesced: boolean;
  disks: { disk: string; base: string; overlay: string }[];
  notes: string[];
}

export interface RollbackEndResult {
  machine: string;
  done: string[];
  elapsedMs: number;
}

export interface RollbackApi {
  /** From now on what the machine writes goes to overlays. */
  rollbackBegin(
    request: { machine: string; quiesce?: boolean },
    options?: CallOptions,
  ): Promise<RollbackPointDto>;
  /** Of this machine, or of all machines of all hosts. */
  rollbackList(request: { machine?: string }, options?: CallOptions): Promise<RollbackPointDto[]>;
  /** What was written since stays. */
  rollbackKeep(request: { machine: string }, options?: CallOptions): Promise<RollbackEndResult>;
  /** What was written since goes: the machine is switched off, and started again where it ran. */
  rollbackUndo(request: { machine: string }, options?: CallOptions): Promise<RollbackEndResult>;
}
