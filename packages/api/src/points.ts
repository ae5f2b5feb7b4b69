/** What the contract says of restore points: listed, compared, locked, forgotten. */
import type { CallOptions } from './call.ts';
import type { PartitionTableDto } from './partition-table.ts';

export interface FiguresDto {
  size: number;
  read: number;
  data: number;
  added: number;
  stored: number;
}

export interface DiskDto extends FiguresDto {
  name: string;
  slot?: string;
  path?: string;
  format?: string;
  changed: 'all' | 'tracked';
  whyFull?: string;
  /** Where it was asked for: bytes of free space that were left out, and why not more. */
  freeSpace?: { bytes: number; kept: string[] };
  /** Of a disk that was a device: its address then, and who it was. */
  lun?: { device: string; identities: readonly string[] };
  /** Only where it was asked for. */
  partitionTable?: PartitionTableDto;
}

export interface PointDto extends FiguresDto {
  id: string;
  machine: string;
  machineId: string;
  host?: string;
  /** It is of the host's own configuration: no disks, and not a machine's. */
  isHost?: boolean;
  time: string;
  finished: string;
  mode: 'hot' | 'warm' | 'cold';
  quiesced: boolean;
  name?: string;
  tags: string[];
  disks: DiskDto[];
  memory?: DiskDto;
  skipped: { name: string; why: string }[];
  files: { name: string; length: number }[];
  notes: string[];
  warnings: string[];
  parent?: string;
  frozenMs?: number;
  pausedMs?: number;
  /** Of a copy: the ids of the repository and the point that it was first copied from. */
  origin?: { repository: string; point: string };
  /** Until when nobody can forget it; it may be in the past. */
  lockedUntil?: string;
}

export interface DiffResult {
  a: PointDto;
  b: PointDto;
  disks: {
    name: string;
    onlyIn?: 'a' | 'b';
    changedBytes: number;
    ranges: { offset: number; length: number }[];
  }[];
  files: { name: string; change: 'added' | 'removed' | 'changed' }[];
}

/** Exactly one of `until` (a time as in MACHINE@TIME) and `forMs` (from now). */
export interface LockRequest {
  points: string[];
  until?: string;
  forMs?: number;
}

export interface RetentionRules {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
}

export interface ForgetRequest {
  /** A machine's name or id; undefined: every machine on its own. */
  machine?: string;
  /** Exactly these points, instead of rules. */
  points?: string[];
  keep?: RetentionRules;
  /** Never forget points with one of these tags. */
  keepTags?: string[];
  dryRun?: boolean;
}

export interface ForgetResult {
  dryRun: boolean;
  kept: { point: PointDto; reasons: string[] }[];
  forgotten: PointDto[];
}

export interface PointsApi {
  points(request: { machine?: string; tags?: string[] }, options?: CallOptions): Promise<PointDto[]>;
  /** With `partitions`, the disks' partition tables are read from the point, too. */
  show(request: { point: string; partitions?: boolean }, options?: CallOptions): Promise<PointDto>;
  diff(request: { a: string; b: string }, options?: CallOptions): Promise<DiffResult>;
  /** Locks points, or extends their locks; answers them as they are locked then. */
  lock(request: LockRequest, options?: CallOptions): Promise<PointDto[]>;
  forget(request: ForgetRequest, options?: CallOptions): Promise<ForgetResult>;
}
