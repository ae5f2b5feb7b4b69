/** Disk files by themselves: looked at, compared, converted, without a machine or a repository. */
import type { CallOptions } from './call.ts';
import type { PartitionTableDto } from './partition-table.ts';

export interface DiskFileRequest {
  path: string;
  /** Where its name and content do not tell it: `raw`, `qcow2`, `vmdk` … */
  format?: string;
  /** Folders in which a VMDK's extents and parents may be, besides its own. */
  allowed?: string[];
}

/** A VMDK, or one of its parents. */
export interface VmdkLinkDto {
  path: string;
  /** Absent, as the CID, for files without a descriptor. */
  createType?: string;
  cid?: string;
  /** Of a redo log without descriptor. */
  generation?: number;
  size: number;
  extents: VmdkExtentDto[];
}

export interface VmdkExtentDto {
  access: string;
  /** `FLAT`, `SPARSE`, `VMFS` … */
  type: string;
  size: number;
  /** As the descriptor names it, and where that is; both absent for extents without a file. */
  name?: string;
  path?: string;
  /** Where the extent begins in the file. */
  offset: number;
  fileSize?: number;
}

export interface VmdkDto extends VmdkLinkDto {
  adapterType?: string;
  geometry: { cylinders: number; heads: number; sectors: number };
  /** The disk database, its parents' entries where it has none; keys without `ddb.`, in lower case. */
  ddb: Record<string, string>;
  /** Nearest first. */
  parents: VmdkLinkDto[];
  /** What is odd, a sentence each. */
  notes: string[];
}

/** Sizes in bytes. */
export interface DiskFileDto {
  path: string;
  format: string;
  /** Why it is taken for that, a phrase: "it is named .img". */
  reason: string;
  /** Nearest first. */
  basedOn: { path: string; format: string }[];
  /** Of the disk, and of these what may hold data, through all files that it is based on. */
  size: number;
  data: number;
  /** Of its own file, and of these what is allocated. */
  fileSize: number;
  allocated: number;
  partitionTable: PartitionTableDto;
  /** What the descriptors of a VMDK say. */
  vmdk?: VmdkDto;
}

export interface DiskMapRequest extends DiskFileRequest {
  /** Extents to list at most. Default 1000. */
  limit?: number;
}

export type ExtentKind = 'data' | 'zero' | 'hole';

export interface DiskMapDto {
  size: number;
  /** Ascending and gapless; `hole` takes no space, `zero` does. */
  extents: { offset: number; length: number; kind: ExtentKind }[];
  /** Bytes of each kind in all of the disk. */
  bytes: Record<ExtentKind, number>;
  /** False when there are more than were asked for. */
  complete: boolean;
}

export interface DiskCompareRequest {
  a: DiskFileRequest;
  b: DiskFileRequest;
  /** Differing ranges after which it ends. Default 1000. */
  limit?: number;
}

export interface DiskComparisonDto {
  sizes: { a: number; b: number };
  /** Whole sectors of 512 bytes. Empty: both hold the same. */
  differences: { offset: number; length: number }[];
  complete: boolean;
}

export interface DiskFileApi {
  diskInfo(request: DiskFileRequest, options?: CallOptions): Promise<DiskFileDto>;
  diskMap(request: DiskMapRequest, options?: CallOptions): Promise<DiskMapDto>;
  diskCompare(request: DiskCompareRequest, options?: CallOptions): Promise<DiskComparisonDto>;
}
