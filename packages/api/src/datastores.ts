/** What the contract says of datastores: folders that disk files lie in, of which machines use what. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { bytes, count, isoTime, name, place } from './values.ts';

export const DatastoreDto = z.object({
  name: z.string(),
  /** 1 to 32, in the order they were given. */
  folders: z.array(z.string()),
});
export type DatastoreDto = z.infer<typeof DatastoreDto>;

export const DatastoreAddRequest = z.strictObject({
  name,
  folders: z.array(place).min(1).max(32),
});
export type DatastoreAddRequest = z.infer<typeof DatastoreAddRequest>;

export const DatastoreRemoveRequest = z.strictObject({ name });
export type DatastoreRemoveRequest = z.infer<typeof DatastoreRemoveRequest>;

/** A datastore with the room of its file systems; a folder that cannot be looked at says why. */
export const DatastoreRoomDto = DatastoreDto.extend({
  room: z.array(
    z.object({
      path: z.string(),
      totalBytes: bytes,
      freeBytes: bytes,
      error: z.string().optional(),
    }),
  ),
});
export type DatastoreRoomDto = z.infer<typeof DatastoreRoomDto>;

/** Exactly one of a datastore's name and folders. */
export const DatastoreShowRequest = z
  .strictObject({ name: name.optional(), folders: z.array(place).min(1).max(32).optional() })
  .meta({ description: 'exactly one of name and folders' });
export type DatastoreShowRequest = z.infer<typeof DatastoreShowRequest>;

export const DatastoreFileDto = z.object({
  path: z.string(),
  /** Bytes that it seems to have, and that it takes. */
  size: bytes,
  allocated: bytes,
  /** ISO 8601. */
  modified: isoTime,
});
export type DatastoreFileDto = z.infer<typeof DatastoreFileDto>;

export const DatastoreDiskDto = z.object({
  slot: z.string(),
  path: z.string(),
  format: z.string().optional(),
  /** Bytes that the guest sees, where headers say it. */
  capacity: bytes.optional(),
  /** The chain: `disk`, then `extent`, `parent`, `backing file`, `data file`, `redo log`, `redo record`. */
  files: z.array(DatastoreFileDto.extend({ role: z.string() })),
});
export type DatastoreDiskDto = z.infer<typeof DatastoreDiskDto>;

export const DatastoreReportDto = z.object({
  folders: z.array(z.object({ path: z.string(), totalBytes: bytes, freeBytes: bytes })),
  files: count,
  logicalBytes: bytes,
  allocatedBytes: bytes,
  machines: z.array(
    z.object({
      name: z.string(),
      configuration: z.string(),
      disks: z.array(DatastoreDiskDto),
      logicalBytes: bytes,
      allocatedBytes: bytes,
    }),
  ),
  /** Parts of disks that no machine refers to, why they are taken for that, and why perhaps not. */
  orphans: z.array(
    DatastoreFileDto.extend({ kind: z.string(), why: z.string(), doubt: z.string().optional() }),
  ),
  missing: z.array(z.object({ path: z.string(), neededBy: z.string() })),
  unreadable: z.array(z.object({ path: z.string(), why: z.string() })),
});
export type DatastoreReportDto = z.infer<typeof DatastoreReportDto>;

export interface DatastoresApi {
  datastoreList(options?: CallOptions): Promise<DatastoreRoomDto[]>;
  datastoreAdd(request: DatastoreAddRequest, options?: CallOptions): Promise<DatastoreDto>;
  /** Forgets it; its files stay as they are. */
  datastoreRemove(request: DatastoreRemoveRequest, options?: CallOptions): Promise<void>;
  /** Looks; never changes anything. */
  datastoreShow(request: DatastoreShowRequest, options?: CallOptions): Promise<DatastoreReportDto>;
}
