/** Redo logs: of the disks of a machine on a host, or of a disk file by itself. See docs/format/redo-log.md. */
import type { CallOptions } from './call.ts';

export interface RedoTarget {
  /** HOST/MACHINE, a machine's folder or .vmx, or a disk file. */
  target: string;
  /** Of a machine: by name (`disk0`) or slot. Default: all that can have logs. */
  disks?: string[];
  /** Of a disk file, where its name and content do not tell it. */
  format?: string;
}

export interface RedoLogDto {
  /** 0: what takes the writes. */
  level: number;
  path: string;
  /** `asked`, `mode` or `backup`. */
  purpose: string;
  /** ISO 8601. */
  made: string;
  /** Bytes that it holds itself; absent where a running machine has it open. */
  bytes?: number;
}

export interface RedoDiskDto {
  /** `disk0`, or the file's path. */
  disk: string;
  path: string;
  /** From the top down. */
  logs: RedoLogDto[];
  /** What was begun and is not finished, a sentence. */
  unfinished?: string;
  /** Logs and other files over the disk that Prima did not make. */
  foreign: string[];
}

export interface RedoResultDto {
  /** Bytes: merged ones, where Prima merged them itself. */
  done: { disk: string; log: string; bytes?: number }[];
  /** How long a running machine was paused, or its file systems frozen; milliseconds. */
  pausedMs?: number;
  frozenMs?: number;
  notes: string[];
  elapsedMs: number;
}

export interface RedoApi {
  redoList(request: RedoTarget, options?: CallOptions): Promise<RedoDiskDto[]>;
  /** `quiesce` false: the guest's file systems are not frozen for the moment. */
  redoAdd(request: RedoTarget & { quiesce?: boolean }, options?: CallOptions): Promise<RedoResultDto>;
  /** `level`: default 0. `freeze`: the machine is paused for all of the merge. */
  redoCommit(
    request: RedoTarget & { level?: number; freeze?: boolean },
    options?: CallOptions,
  ): Promise<RedoResultDto>;
  redoDiscard(request: RedoTarget, options?: CallOptions): Promise<RedoResultDto>;
}
