/** What the contract says of checks, repairs and collections. */
import type { CallOptions } from './call.ts';

export interface CheckResult {
  ok: boolean;
  points: number;
  packs: number;
  blobs: number;
  bytesRead: number;
  faults: {
    kind: string;
    object: string;
    message: string;
    affected: { point: string; machine: string; disk: string; offset: number; length: number }[];
  }[];
  leftovers: string[];
  /** What the check did besides looking. */
  notes: string[];
  /** When the packs were last read: how many in so many days, how many never, the oldest of the others. */
  verification: { never: number; oldest?: string; within: { days: number; packs: number }[] };
  elapsedMs: number;
}

export interface CheckRequest {
  /** Read and verify every stored byte. */
  readData?: boolean;
  /** Read about so many bytes, of what was not read for longest. */
  budgetBytes?: number;
  /** Only what the points of this machine need. */
  machine?: string;
  /** False: write nothing to the repository. */
  record?: boolean;
  /** First write index segments that are missing, from the packs. */
  rebuildIndex?: boolean;
  acceptHead?: boolean;
}

export interface RepairRequest {
  /** Do it; otherwise only the plan is answered. */
  apply?: boolean;
  /** For how long the data of what is given up is kept; 0 ends earlier such times, too. Default 14 days. */
  keepMs?: number;
  /** Other copies of the repository's storage: folders' paths or URLs. */
  from?: string[];
}

export interface RepairResult {
  applied: boolean;
  steps: {
    /** The key of what is damaged or missing. */
    object: string;
    fault: string;
    /** `acknowledged`: it is lost and costs nothing. */
    remedy: 'restored' | 'acknowledged' | 'given-up' | 'released';
    point?: { id: string; machine?: string; time?: string };
  }[];
  /** How many points the log counts that nothing names any more. */
  unknownPoints: number;
  /** Until when nothing is freed because of what is given up. */
  keptUntil?: string;
}

export interface CollectResult {
  dryRun: boolean;
  packs: number;
  packsDeleted: number;
  packsRewritten: number;
  /** Bytes of the packs deleted, less those of the packs that what lives in them is copied to. */
  bytesFreed: number;
  bytesLive: number;
  /** Packs worth rewriting that the budget left for another time: how many, their live and their dead bytes. */
  postponed: { packs: number; live: number; dead: number };
  sessionsRemoved: number;
  fenced: { session: string; why: string }[];
  notes: string[];
}

export interface MaintenanceApi {
  check(request: CheckRequest, options?: CallOptions): Promise<CheckResult>;
  /** The way out of damage that stops collections; only adds to the repository. */
  repair(request: RepairRequest, options?: CallOptions): Promise<RepairResult>;
  collect(
    request: {
      dryRun?: boolean;
      waitMs?: number;
      maxDeleteShare?: number;
      maxRewriteBytes?: number;
      dropInterrupted?: boolean;
    },
    options?: CallOptions,
  ): Promise<CollectResult>;
}
