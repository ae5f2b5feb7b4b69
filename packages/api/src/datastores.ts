/** What the contract says of datastores: folders that disk files lie in, of which machines use what. */
import type { CallOptions } from './call.ts';

export interface DatastoreDto {
  name: string;
  /** 1 to 32, in the order they were given. */
  folders: string[];
}

/** A datastore with the room of its file systems; a folder that cannot be looked at says why. */
export interface DatastoreRoomDto extends DatastoreDto {
  room: { path: string; totalBytes: number; freeBytes: number; error?: string }[];
}

/** Exactly one of a datastore's name and folders. */
export interface DatastoreShowRequest {
  name?: string;
  folders?: string[];
}

export interface DatastoreFileDto {
  path: string;
  /** Bytes that it seems to have, and that it takes. */
  size: number;
  allocated: number;
  /** ISO 8601. */
  modified: string;
}

export interface DatastoreDiskDto {
  slot: string;
  path: string;
  format?: string;
  /** Bytes that the guest sees, where headers say it. */
  capacity?: number;
  /** The chain: `disk`, then `extent`, `parent`, `backing file`, `data file`, `redo log`, `redo record`. */
  files: (DatastoreFileDto & { role: string })[];
}

export interface DatastoreReportDto {
  folders: { path: string; totalBytes: number; freeBytes: number }[];
  files: number;
  logicalBytes: number;
  allocatedBytes: number;
  machines: {
    name: string;
    configuration: string;
    disks: DatastoreDiskDto[];
    logicalBytes: number;
    allocatedBytes: number;
  }[];
  /** Parts of disks that no machine refers to, why they are taken for that, and why perhaps not. */
  orphans: (DatastoreFileDto & { kind: string; why: string; doubt?: string })[];
  missing: { path: string; neededBy: string }[];
  unreadable: { path: string; why: string }[];
}

export interface DatastoresApi {
  datastoreList(options?: CallOptions): Promise<DatastoreRoomDto[]>;
  datastoreAdd(request: DatastoreDto, options?: CallOptions): Promise<DatastoreDto>;
  /** Forgets it; its files stay as they are. */
  datastoreRemove(request: { name: string }, options?: CallOptions): Promise<void>;
  /** Looks; never changes anything. */
  datastoreShow(request: DatastoreShowRequest, options?: CallOptions): Promise<DatastoreReportDto>;
}
