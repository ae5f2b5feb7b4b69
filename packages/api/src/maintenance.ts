/** What the contract says of checks, repairs and collections. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, count, elapsed, isoTime, milliseconds, name, place } from './values.ts';

export const CheckResult = z.object({
  ok: z.boolean(),
  points: count,
  packs: count,
  blobs: count,
  bytesRead: bytes,
  faults: z.array(
    z.object({
      kind: z.string(),
      object: z.string(),
      message: z.string(),
      affected: z.array(
        z.object({
          point: z.string(),
          machine: z.string(),
          disk: z.string(),
          offset: bytes,
          length: bytes,
        }),
      ),
    }),
  ),
  leftovers: z.array(z.string()),
  /** What the check did besides looking. */
  notes: z.array(z.string()),
  /** When the packs were last read: how many in so many days, how many never, the oldest of the others. */
  verification: z.object({
    never: count,
    oldest: isoTime.optional(),
    within: z.array(z.object({ days: count, packs: count })),
  }),
  elapsedMs: elapsed,
});
export type CheckResult = z.infer<typeof CheckResult>;

export const CheckRequest = z.strictObject({
  /** Read and verify every stored byte. */
  readData: z.boolean().optional(),
  /** Read about so many bytes, of what was not read for longest. */
  budgetBytes: bytes.optional(),
  /** Only what the points of this machine need. */
  machine: name.optional(),
  /** False: write nothing to the repository. */
  record: z.boolean().optional(),
  /** First write index segments that are missing, from the packs. */
  rebuildIndex: z.boolean().optional(),
  acceptHead: z.boolean().optional(),
});
export type CheckRequest = z.infer<typeof CheckRequest>;

export const RepairRequest = z.strictObject({
  /** Do it; otherwise only the plan is answered. */
  apply: z.boolean().optional(),
  /** For how long the data of what is given up is kept; 0 ends earlier such times, too. Default 14 days. */
  keepMs: milliseconds.optional(),
  /** Other copies of the repository's storage: folders' paths or URLs. */
  from: z.array(place).max(16).optional(),
});
export type RepairRequest = z.infer<typeof RepairRequest>;

export const RepairResult = z.object({
  applied: z.boolean(),
  steps: z.array(
    z.object({
      /** The key of what is damaged or missing. */
      object: z.string(),
      fault: z.string(),
      /** `acknowledged`: it is lost and costs nothing. */
      remedy: z.enum(['restored', 'acknowledged', 'given-up', 'released']),
      point: z
        .object({ id: z.string(), machine: z.string().optional(), time: z.string().optional() })
        .optional(),
    }),
  ),
  /** How many points the log counts that nothing names any more. */
  unknownPoints: count,
  /** Until when nothing is freed because of what is given up. */
  keptUntil: isoTime.optional(),
});
export type RepairResult = z.infer<typeof RepairResult>;

export const CollectRequest = z.strictObject({
  dryRun: z.boolean().optional(),
  waitMs: milliseconds.optional(),
  maxDeleteShare: z.number().min(0).max(1).optional().meta({ description: 'a share, 0 to 1' }),
  maxRewriteBytes: bytes.optional(),
  dropInterrupted: z.boolean().optional(),
});
export type CollectRequest = z.infer<typeof CollectRequest>;

export const CollectResult = z.object({
  dryRun: z.boolean(),
  packs: count,
  packsDeleted: count,
  packsRewritten: count,
  /** Bytes of the packs deleted, less those of the packs that what lives in them is copied to. */
  bytesFreed: z.int(),
  bytesLive: bytes,
  /** Packs worth rewriting that the budget left for another time: how many, their live and their dead bytes. */
  postponed: z.object({ packs: count, live: bytes, dead: bytes }),
  sessionsRemoved: count,
  fenced: z.array(z.object({ session: z.string(), why: z.string() })),
  notes: z.array(z.string()),
});
export type CollectResult = z.infer<typeof CollectResult>;

export interface MaintenanceApi {
  check(request: CheckRequest, options?: CallOptions): Promise<CheckResult>;
  /** The way out of damage that stops collections; only adds to the repository. */
  repair(request: RepairRequest, options?: CallOptions): Promise<RepairResult>;
  collect(request: CollectRequest, options?: CallOptions): Promise<CollectResult>;
}
