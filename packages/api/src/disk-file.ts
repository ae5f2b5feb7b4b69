/** Disk files by themselves: looked at, compared, converted, without a machine or a repository. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { PartitionTableDto } from './partition-table.ts';
import { bytes, count, place, places, word } from './values.ts';

export const DiskFileRequest = z.strictObject({
  path: place,
  /** Where its name and content do not tell it: `raw`, `qcow2`, `vmdk` … */
  format: word.optional(),
  /** Folders in which a VMDK's extents and parents may be, besides its own. */
  allowed: places.optional(),
});
export type DiskFileRequest = z.infer<typeof DiskFileRequest>;

export const VmdkExtentDto = z.object({
  access: z.string(),
  /** `FLAT`, `SPARSE`, `VMFS` … */
  type: z.string(),
  size: bytes,
  /** As the descriptor names it, and where that is; both absent for extents without a file. */
  name: z.string().optional(),
  path: z.string().optional(),
  /** Where the extent begins in the file. */
  offset: bytes,
  fileSize: bytes.optional(),
});
export type VmdkExtentDto = z.infer<typeof VmdkExtentDto>;

/** A VMDK, or one of its parents. */
export const VmdkLinkDto = z.object({
  path: z.string(),
  /** Absent, as the CID, for files without a descriptor. */
  createType: z.string().optional(),
  cid: z.string().optional(),
  /** Of a redo log without descriptor. */
  generation: count.optional(),
  size: bytes,
  extents: z.array(VmdkExtentDto),
});
export type VmdkLinkDto = z.infer<typeof VmdkLinkDto>;

export const VmdkDto = VmdkLinkDto.extend({
  adapterType: z.string().optional(),
  geometry: z.object({ cylinders: count, heads: count, sectors: count }),
  /** The disk database, its parents' entries where it has none; keys without `ddb.`, in lower case. */
  ddb: z.record(z.string(), z.string()),
  /** Nearest first. */
  parents: z.array(VmdkLinkDto),
  /** What is odd, a sentence each. */
  notes: z.array(z.string()),
});
export type VmdkDto = z.infer<typeof VmdkDto>;

/** Sizes in bytes. */
export const DiskFileDto = z.object({
  path: z.string(),
  format: z.string(),
  /** Why it is taken for that, a phrase: "it is named .img". */
  reason: z.string(),
  /** Nearest first. */
  basedOn: z.array(z.object({ path: z.string(), format: z.string() })),
  /** Of the disk, and of these what may hold data, through all files that it is based on. */
  size: bytes,
  data: bytes,
  /** Of its own file, and of these what is allocated. */
  fileSize: bytes,
  allocated: bytes,
  partitionTable: PartitionTableDto,
  /** What the descriptors of a VMDK say. */
  vmdk: VmdkDto.optional(),
});
export type DiskFileDto = z.infer<typeof DiskFileDto>;

/** Entries that an answer may be asked for. */
const limit = z.int().min(1).max(1_000_000);

export const DiskMapRequest = DiskFileRequest.extend({
  /** Extents to list at most. Default 1000. */
  limit: limit.optional().meta({ description: 'extents to list at most; default 1000' }),
});
export type DiskMapRequest = z.infer<typeof DiskMapRequest>;

export const ExtentKind = z.enum(['data', 'zero', 'hole']);
export type ExtentKind = z.infer<typeof ExtentKind>;

export const DiskMapDto = z.object({
  size: bytes,
  /** Ascending and gapless; `hole` takes no space, `zero` does. */
  extents: z.array(z.object({ offset: bytes, length: bytes, kind: ExtentKind })),
  /** Bytes of each kind in all of the disk. */
  bytes: z.record(ExtentKind, bytes),
  /** False when there are more than were asked for. */
  complete: z.boolean(),
});
export type DiskMapDto = z.infer<typeof DiskMapDto>;

export const DiskCompareRequest = z.strictObject({
  a: DiskFileRequest,
  b: DiskFileRequest,
  /** Differing ranges after which it ends. Default 1000. */
  limit: limit.optional().meta({ description: 'differing ranges after which it ends; default 1000' }),
});
export type DiskCompareRequest = z.infer<typeof DiskCompareRequest>;

export const DiskComparisonDto = z.object({
  sizes: z.object({ a: bytes, b: bytes }),
  /** Whole sectors of 512 bytes. Empty: both hold the same. */
  differences: z.array(z.object({ offset: bytes, length: bytes })),
  complete: z.boolean(),
});
export type DiskComparisonDto = z.infer<typeof DiskComparisonDto>;

export interface DiskFileApi {
  diskInfo(request: DiskFileRequest, options?: CallOptions): Promise<DiskFileDto>;
  diskMap(request: DiskMapRequest, options?: CallOptions): Promise<DiskMapDto>;
  diskCompare(request: DiskCompareRequest, options?: CallOptions): Promise<DiskComparisonDto>;
}
