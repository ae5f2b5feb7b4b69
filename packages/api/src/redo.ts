/** Redo logs: of the disks of a machine on a host, or of a disk file by itself. See docs/format/redo-log.md. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, count, elapsed, isoTime, names, place, word } from './values.ts';

export const RedoTarget = z.strictObject({
  /** HOST/MACHINE, a machine's folder or .vmx, or a disk file. */
  target: place.meta({ description: "HOST/MACHINE, a machine's folder or .vmx, or a disk file" }),
  /** Of a machine: by name (`disk0`) or slot. Default: all that can have logs. */
  disks: names.optional(),
  /** Of a disk file, where its name and content do not tell it. */
  format: word.optional(),
});
export type RedoTarget = z.infer<typeof RedoTarget>;

export const RedoAddRequest = RedoTarget.extend({
  /** False: the guest's file systems are not frozen for the moment. */
  quiesce: z.boolean().optional(),
});
export type RedoAddRequest = z.infer<typeof RedoAddRequest>;

export const RedoCommitRequest = RedoTarget.extend({
  /** Default 0. */
  level: count.optional(),
  /** The machine is paused for all of the merge. */
  freeze: z.boolean().optional(),
});
export type RedoCommitRequest = z.infer<typeof RedoCommitRequest>;

export const RedoLogDto = z.object({
  /** 0: what takes the writes. */
  level: count,
  path: z.string(),
  /** `asked`, `mode` or `backup`. */
  purpose: z.string(),
  /** ISO 8601. */
  made: isoTime,
  /** Bytes that it holds itself; absent where a running machine has it open. */
  bytes: bytes.optional(),
});
export type RedoLogDto = z.infer<typeof RedoLogDto>;

export const RedoDiskDto = z.object({
  /** `disk0`, or the file's path. */
  disk: z.string(),
  path: z.string(),
  /** From the top down. */
  logs: z.array(RedoLogDto),
  /** What was begun and is not finished, a sentence. */
  unfinished: z.string().optional(),
  /** Logs and other files over the disk that Prima did not make. */
  foreign: z.array(z.string()),
});
export type RedoDiskDto = z.infer<typeof RedoDiskDto>;

export const RedoResultDto = z.object({
  /** Bytes: merged ones, where Prima merged them itself. */
  done: z.array(z.object({ disk: z.string(), log: z.string(), bytes: bytes.optional() })),
  /** How long a running machine was paused, or its file systems frozen; milliseconds. */
  pausedMs: elapsed.optional(),
  frozenMs: elapsed.optional(),
  notes: z.array(z.string()),
  elapsedMs: elapsed,
});
export type RedoResultDto = z.infer<typeof RedoResultDto>;

export interface RedoApi {
  redoList(request: RedoTarget, options?: CallOptions): Promise<RedoDiskDto[]>;
  redoAdd(request: RedoAddRequest, options?: CallOptions): Promise<RedoResultDto>;
  redoCommit(request: RedoCommitRequest, options?: CallOptions): Promise<RedoResultDto>;
  redoDiscard(request: RedoTarget, options?: CallOptions): Promise<RedoResultDto>;
}
