/** Disk files by themselves: made, checked, and changed. Sizes in bytes. */
import type { CallOptions } from './call.ts';
import type { DiskFileRequest } from './disk-file.ts';
import type { ImageFormat } from './restore.ts';

export interface DiskCreateRequest {
  target: string;
  /** Default: by the ending of the target. */
  format?: ImageFormat;
  /** Of the disk; of a child its parent's size. */
  size?: number;
  /** The kind of a VMDK: `monolithicSparse`, `vmfsThin` … */
  kind?: string;
  /** `lsilogic`, `ide` … */
  adapter?: string;
  /** The disk that is read where this one holds nothing. */
  parent?: DiskFileRequest;
  /** Replace the target where it is there. */
  force?: boolean;
}

export interface DiskMadeResult {
  path: string;
  format: ImageFormat;
  /** Of a VMDK. */
  kind?: string;
  /** All of its files, that by which it is opened first. */
  files: string[];
  /** Of all files. */
  size: number;
  elapsedMs: number;
}

export interface DiskCopyResult extends DiskMadeResult {
  bytesRead: number;
  bytesWritten: number;
}

export interface DiskConvertRequest {
  source: DiskFileRequest;
  target: string;
  /** Default: by the ending of the target. */
  format?: ImageFormat;
  /** The kind of a VMDK. Default `streamOptimized`. */
  kind?: string;
  adapter?: string;
  /** Replace the target where it is there. */
  force?: boolean;
}

export interface DiskCloneRequest extends DiskConvertRequest {
  /** Copies only what the disk holds itself, over the same parent. */
  keepParent?: boolean;
}

export interface DiskCheckResult {
  path: string;
  format: string;
  /** Nothing was found that is an error or a warning. */
  sound: boolean;
  findings: {
    severity: 'error' | 'warning' | 'info';
    path: string;
    offset?: number;
    message: string;
    repairable: boolean;
  }[];
  /** What was repaired, a sentence each. */
  repairs: string[];
}

export interface DiskRepairRequest extends DiskFileRequest {
  /** Do it; otherwise only check. */
  apply?: boolean;
}

export interface DiskExtendRequest extends DiskFileRequest {
  size: number;
  /** Fill the new room of flat disks with zeros. */
  eagerZero?: boolean;
}

export interface DiskExtendResult {
  path: string;
  before: number;
  size: number;
  /** Files that are new. */
  added: string[];
}

export interface DiskFillResult {
  path: string;
  /** What all its files took on their disk, before and now. */
  before: number;
  after: number;
}

export interface DiskRenameRequest extends DiskFileRequest {
  target: string;
}

export interface DiskRenameResult {
  path: string;
  files: { from: string; to: string }[];
  /** Disks whose account of their parent was changed. */
  children: string[];
}

export interface DiskDeleteRequest extends DiskFileRequest {
  /** Do it; otherwise only say what would be deleted. */
  apply?: boolean;
}

export interface DiskDeleteResult {
  path: string;
  /** Of files that are not there `size` is absent. */
  files: { path: string; size?: number }[];
  deleted: boolean;
}

export interface DiskChangeApi {
  diskCreate(request: DiskCreateRequest, options?: CallOptions): Promise<DiskMadeResult>;
  diskConvert(request: DiskConvertRequest, options?: CallOptions): Promise<DiskCopyResult>;
  diskClone(request: DiskCloneRequest, options?: CallOptions): Promise<DiskCopyResult>;
  diskCheck(request: DiskFileRequest, options?: CallOptions): Promise<DiskCheckResult>;
  diskRepair(request: DiskRepairRequest, options?: CallOptions): Promise<DiskCheckResult>;
  diskExtend(request: DiskExtendRequest, options?: CallOptions): Promise<DiskExtendResult>;
  diskInflate(request: DiskFileRequest, options?: CallOptions): Promise<DiskFillResult>;
  diskPunch(request: DiskFileRequest, options?: CallOptions): Promise<DiskFillResult>;
  diskRename(request: DiskRenameRequest, options?: CallOptions): Promise<DiskRenameResult>;
  diskDelete(request: DiskDeleteRequest, options?: CallOptions): Promise<DiskDeleteResult>;
}
