/** What the contract says of backups. */
import type { CallOptions, ErrorDto } from './call.ts';
import type { PointDto } from './points.ts';

export interface BackupRequest {
  sources: string[];
  mode?: 'auto' | 'hot' | 'warm' | 'cold';
  full?: boolean;
  /** Leave out what the guest's file systems provably do not use. */
  skipFreeSpace?: boolean;
  name?: string;
  tags?: string[];
  /** Nobody can forget the points for so long. */
  lockMs?: number;
  readBack?: boolean;
  /** Where the blocks that a running guest overwrites are kept meanwhile (a path on its host), and bytes for each disk at most. */
  scratch?: { folder?: string; limitBytes?: number };
  /** The format of disk files whose name and content do not tell it: `raw`, `qcow2`, `vmdk` … */
  sourceFormat?: string;
  /** Folders in which the files of a VMDK may be, besides its own. */
  allowed?: string[];
}

export interface BackupResult {
  /** One entry per source, in order; a failed one does not stop the others. */
  results: { source: string; point?: PointDto; error?: ErrorDto; elapsedMs: number }[];
}

export interface BackupApi {
  backup(request: BackupRequest, options?: CallOptions): Promise<BackupResult>;
}
