/** Local rollback points: the state of a machine's disks before a patch, kept on the host until the patch has proved good or bad. */
import type { Logger, Progress } from '@prima/base';
import type { Machine } from './platform.ts';

export interface RollbackPoint {
  /** 8 hex digits. */
  id: string;
  machine: string;
  /** ISO 8601. */
  made: string;
  /**
   * `open`: what is written since goes to the overlays. `beginning`, `keeping`, `undoing`: a process is at it, or died; nothing was
   * taken yet in the first, the others are finished by `keep` and `undo`.
   */
  phase: 'beginning' | 'open' | 'keeping' | 'undoing';
  /** The guest's file systems were frozen by its agent at that moment. */
  quiesced: boolean;
  /** `base` is what the disk was and will be again, `overlay` what takes the writes. */
  disks: { disk: string; base: string; overlay: string }[];
  /** For people: what it does not cover, who is at it, what to do next. */
  notes: string[];
}

export interface RollbackOptions {
  /** Freeze the guest's file systems for the moment, where its agent answers. Default true. */
  quiesce?: boolean;
  signal?: AbortSignal;
  logger?: Logger;
  onProgress?: (disk: string, progress: Progress) => void;
}

export interface RollbackPlatform {
  /** Raises `exists` where one is open, `state` for a machine that is suspended, `unsupported` where a disk cannot have an overlay. */
  begin(machine: Machine, options?: RollbackOptions): Promise<RollbackPoint>;
  /** The machine's rollback point, in whatever state it was left. */
  find(machine: Machine): Promise<RollbackPoint | undefined>;
  /**
   * What was written since becomes the disks' for good; running or not. Finishes what a process that died began; may be called
   * again. Answers in words. Raises `not-found` without a rollback point, `busy` while another is at it, `state` for one being undone.
   */
  keep(machine: Machine, options?: RollbackOptions): Promise<string[]>;
  /** The disks are as they were: a machine that runs is switched off, and started again. Otherwise like `keep`. */
  undo(machine: Machine, options?: RollbackOptions): Promise<string[]>;
}
