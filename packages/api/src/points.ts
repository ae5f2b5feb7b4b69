/** What the contract says of restore points: listed, compared, locked, forgotten. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { PartitionTableDto } from './partition-table.ts';
import { bytes, count, elapsed, isoTime, milliseconds, name, pointName, pointNames, tags } from './values.ts';

export const FiguresDto = z.object({ size: bytes, read: bytes, data: bytes, added: bytes, stored: bytes });
export type FiguresDto = z.infer<typeof FiguresDto>;

/** Where the data of a disk lies, for a picture. */
export const PointMapDto = z.object({
  /** Of the disk, that one cell stands for; the last may stand for less. */
  cellBytes: bytes,
  /** Bytes that are data; the rest reads as zeros. */
  dataBytes: bytes,
  /** Bytes of data in each, 256 cells at most. */
  cells: z.array(bytes),
  /** Why there are no cells. */
  note: z.string().optional(),
});
export type PointMapDto = z.infer<typeof PointMapDto>;

export const DiskDto = FiguresDto.extend({
  name: z.string(),
  slot: z.string().optional(),
  path: z.string().optional(),
  format: z.string().optional(),
  changed: z.enum(['all', 'tracked']),
  whyFull: z.string().optional(),
  /** Where it was asked for: bytes of free space that were left out, and why not more. */
  freeSpace: z.object({ bytes, kept: z.array(z.string()) }).optional(),
  /** Of a disk that was a device: its address then, and who it was. */
  lun: z.object({ device: z.string(), identities: z.array(z.string()).readonly() }).optional(),
  /** Only where they were asked for. */
  partitionTable: PartitionTableDto.optional(),
  map: PointMapDto.optional(),
});
export type DiskDto = z.infer<typeof DiskDto>;

export const PointDto = FiguresDto.extend({
  id: z.string(),
  machine: z.string(),
  machineId: z.string(),
  host: z.string().optional(),
  /** It is of the host's own configuration: no disks, and not a machine's. */
  isHost: z.boolean().optional(),
  time: isoTime,
  finished: isoTime,
  mode: z.enum(['hot', 'warm', 'cold']),
  quiesced: z.boolean(),
  name: z.string().optional(),
  tags: z.array(z.string()),
  disks: z.array(DiskDto),
  memory: DiskDto.optional(),
  skipped: z.array(z.object({ name: z.string(), why: z.string() })),
  files: z.array(z.object({ name: z.string(), length: bytes })),
  notes: z.array(z.string()),
  warnings: z.array(z.string()),
  parent: z.string().optional(),
  frozenMs: elapsed.optional(),
  pausedMs: elapsed.optional(),
  /** Of a copy: the ids of the repository and the point that it was first copied from. */
  origin: z.object({ repository: z.string(), point: z.string() }).optional(),
  /** Until when nobody can forget it; it may be in the past. */
  lockedUntil: isoTime.optional(),
  /** Only where it was asked for: when checks last read the packs that the point needs. */
  verification: z
    .object({
      packs: count,
      /** Of them, those that no check has read, or not since they were found damaged. */
      never: count,
      /** Blobs that are in no pack: the point is damaged. */
      missing: count,
      /** The longest ago that any other was read. */
      oldest: isoTime.optional(),
    })
    .optional(),
});
export type PointDto = z.infer<typeof PointDto>;

export const PointsRequest = z.strictObject({ machine: name.optional(), tags: tags.optional() });
export type PointsRequest = z.infer<typeof PointsRequest>;

export const ShowRequest = z.strictObject({
  point: pointName,
  partitions: z.boolean().optional(),
  map: z.boolean().optional(),
  verification: z.boolean().optional(),
});
export type ShowRequest = z.infer<typeof ShowRequest>;

export const DiffRequest = z.strictObject({ a: pointName, b: pointName });
export type DiffRequest = z.infer<typeof DiffRequest>;

export const DiffResult = z.object({
  a: PointDto,
  b: PointDto,
  disks: z.array(
    z.object({
      name: z.string(),
      onlyIn: z.enum(['a', 'b']).optional(),
      changedBytes: bytes,
      ranges: z.array(z.object({ offset: bytes, length: bytes })),
    }),
  ),
  files: z.array(z.object({ name: z.string(), change: z.enum(['added', 'removed', 'changed']) })),
});
export type DiffResult = z.infer<typeof DiffResult>;

/** Exactly one of `until` (a time as in MACHINE@TIME) and `forMs` (from now). */
export const LockRequest = z
  .strictObject({
    points: pointNames.min(1),
    until: z.string().min(1).max(64).optional().meta({ description: 'a time as in MACHINE@TIME' }),
    forMs: milliseconds.optional(),
  })
  .meta({ description: 'exactly one of until and forMs' });
export type LockRequest = z.infer<typeof LockRequest>;

/** How many points, or points of how many hours, days … are kept. */
const kept = z.int().nonnegative().max(100_000).optional();

export const RetentionRules = z.strictObject({
  last: kept,
  hourly: kept,
  daily: kept,
  weekly: kept,
  monthly: kept,
  yearly: kept,
});
export type RetentionRules = z.infer<typeof RetentionRules>;

export const ForgetRequest = z.strictObject({
  /** A machine's name or id; undefined: every machine on its own. */
  machine: name.optional(),
  /** Exactly these points, instead of rules. */
  points: pointNames.optional(),
  keep: RetentionRules.optional(),
  /** Never forget points with one of these tags. */
  keepTags: tags.optional(),
  dryRun: z.boolean().optional(),
});
export type ForgetRequest = z.infer<typeof ForgetRequest>;

export const ForgetResult = z.object({
  dryRun: z.boolean(),
  kept: z.array(z.object({ point: PointDto, reasons: z.array(z.string()) })),
  forgotten: z.array(PointDto),
});
export type ForgetResult = z.infer<typeof ForgetResult>;

export interface PointsApi {
  points(request: PointsRequest, options?: CallOptions): Promise<PointDto[]>;
  /** With `partitions`, the disks' partition tables are read from the point, too; with `map`, where their data lies. */
  show(request: ShowRequest, options?: CallOptions): Promise<PointDto>;
  diff(request: DiffRequest, options?: CallOptions): Promise<DiffResult>;
  /** Locks points, or extends their locks; answers them as they are locked then. */
  lock(request: LockRequest, options?: CallOptions): Promise<PointDto[]>;
  forget(request: ForgetRequest, options?: CallOptions): Promise<ForgetResult>;
}
