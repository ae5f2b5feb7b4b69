/** Disk files by themselves: made, checked, and changed. Sizes in bytes. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { DiskFileRequest } from './disk-file.ts';
import { ImageFormat } from './restore.ts';
import { bytes, elapsed, place, word } from './values.ts';

export const DiskCreateRequest = z.strictObject({
  target: place,
  /** Default: by the ending of the target. */
  format: ImageFormat.optional(),
  /** Of the disk; of a child its parent's size. */
  size: bytes.optional(),
  /** The kind of a VMDK: `monolithicSparse`, `vmfsThin` … */
  kind: word.optional(),
  /** `lsilogic`, `ide` … */
  adapter: word.optional(),
  /** The disk that is read where this one holds nothing. */
  parent: DiskFileRequest.optional(),
  /** Replace the target where it is there. */
  force: z.boolean().optional(),
});
export type DiskCreateRequest = z.infer<typeof DiskCreateRequest>;

export const DiskMadeResult = z.object({
  path: z.string(),
  format: ImageFormat,
  /** Of a VMDK. */
  kind: z.string().optional(),
  /** All of its files, that by which it is opened first. */
  files: z.array(z.string()),
  /** Of all files. */
  size: bytes,
  elapsedMs: elapsed,
});
export type DiskMadeResult = z.infer<typeof DiskMadeResult>;

export const DiskCopyResult = DiskMadeResult.extend({ bytesRead: bytes, bytesWritten: bytes });
export type DiskCopyResult = z.infer<typeof DiskCopyResult>;

export const DiskConvertRequest = z.strictObject({
  source: DiskFileRequest,
  target: place,
  /** Default: by the ending of the target. */
  format: ImageFormat.optional(),
  /** The kind of a VMDK. Default `streamOptimized`. */
  kind: word.optional(),
  adapter: word.optional(),
  /** Replace the target where it is there. */
  force: z.boolean().optional(),
});
export type DiskConvertRequest = z.infer<typeof DiskConvertRequest>;

export const DiskCloneRequest = DiskConvertRequest.extend({
  /** Copies only what the disk holds itself, over the same parent. */
  keepParent: z.boolean().optional(),
});
export type DiskCloneRequest = z.infer<typeof DiskCloneRequest>;

export const DiskCheckResult = z.object({
  path: z.string(),
  format: z.string(),
  /** Nothing was found that is an error or a warning. */
  sound: z.boolean(),
  findings: z.array(
    z.object({
      severity: z.enum(['error', 'warning', 'info']),
      path: z.string(),
      offset: bytes.optional(),
      message: z.string(),
      repairable: z.boolean(),
    }),
  ),
  /** What was repaired, a sentence each. */
  repairs: z.array(z.string()),
});
export type DiskCheckResult = z.infer<typeof DiskCheckResult>;

export const DiskRepairRequest = DiskFileRequest.extend({
  /** Do it; otherwise only check. */
  apply: z.boolean().optional(),
});
export type DiskRepairRequest = z.infer<typeof DiskRepairRequest>;

export const DiskExtendRequest = DiskFileRequest.extend({
  size: bytes,
  /** Fill the new room of flat disks with zeros. */
  eagerZero: z.boolean().optional(),
});
export type DiskExtendRequest = z.infer<typeof DiskExtendRequest>;

export const DiskExtendResult = z.object({
  path: z.string(),
  before: bytes,
  size: bytes,
  /** Files that are new. */
  added: z.array(z.string()),
});
export type DiskExtendResult = z.infer<typeof DiskExtendResult>;

export const DiskFillResult = z.object({
  path: z.string(),
  /** What all its files took on their disk, before and now. */
  before: bytes,
  after: bytes,
});
export type DiskFillResult = z.infer<typeof DiskFillResult>;

export const DiskRenameRequest = DiskFileRequest.extend({ target: place });
export type DiskRenameRequest = z.infer<typeof DiskRenameRequest>;

export const DiskRenameResult = z.object({
  path: z.string(),
  files: z.array(z.object({ from: z.string(), to: z.string() })),
  /** Disks whose account of their parent was changed. */
  children: z.array(z.string()),
});
export type DiskRenameResult = z.infer<typeof DiskRenameResult>;

export const DiskDeleteRequest = DiskFileRequest.extend({
  /** Do it; otherwise only say what would be deleted. */
  apply: z.boolean().optional(),
});
export type DiskDeleteRequest = z.infer<typeof DiskDeleteRequest>;

export const DiskDeleteResult = z.object({
  path: z.string(),
  /** Of files that are not there `size` is absent. */
  files: z.array(z.object({ path: z.string(), size: bytes.optional() })),
  deleted: z.boolean(),
});
export type DiskDeleteResult = z.infer<typeof DiskDeleteResult>;

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
