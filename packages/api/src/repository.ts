/** What the contract says of a repository as a whole and of the storage below it. */
import { z } from 'zod';
import type { CallOptions } from './call.ts';
import { recoveryWords } from './keys.ts';
import { bytes, count, elapsed, milliseconds, place } from './values.ts';

export const RepositoryDto = z.object({
  id: z.string(),
  url: z.string(),
  chunkSize: bytes,
  points: count,
  packs: count,
  storedBytes: bytes,
  /** Distinct chunks, pages and files. */
  blobs: count,
});
export type RepositoryDto = z.infer<typeof RepositoryDto>;

/** With the words of the recovery key, where one was asked for: shown once, kept nowhere. */
export const NewRepositoryDto = RepositoryDto.extend({ words: recoveryWords.optional() });
export type NewRepositoryDto = z.infer<typeof NewRepositoryDto>;

export const InitRequest = z.strictObject({
  chunkSize: bytes.optional(),
  level: z.int().min(1).max(19).optional().meta({ description: 'of zstd, 1 to 19' }),
  readBack: z.boolean().optional(),
  label: z.string().max(255).optional(),
  lockMs: milliseconds.optional(),
  /** Makes a recovery key besides. */
  recovery: z.boolean().optional(),
});
export type InitRequest = z.infer<typeof InitRequest>;

export const StorageTestRequest = z.strictObject({ url: place });
export type StorageTestRequest = z.infer<typeof StorageTestRequest>;

export const StorageTestResult = z.object({
  url: z.string(),
  /** False when a promise is broken. */
  ok: z.boolean(),
  promises: z.array(
    z.object({
      promise: z.string(),
      /** `untested`: cannot be tested from here; `absent`: not offered, and a repository works without. */
      verdict: z.enum(['kept', 'broken', 'absent', 'untested']),
      detail: z.string(),
      advice: z.string().optional(),
    }),
  ),
  /** Missing when a promise is broken. */
  figures: z
    .object({
      putBytesPerSecond: z.number(),
      getBytesPerSecond: z.number(),
      putMs: elapsed,
      getMs: elapsed,
      smallPutsPerSecond: z.number(),
    })
    .optional(),
  /** Objects of the test that the store keeps for some minutes (retention). */
  left: z.array(z.string()),
  elapsedMs: elapsed,
});
export type StorageTestResult = z.infer<typeof StorageTestResult>;

export const StorageUndeleteRequest = z.strictObject({ url: place, dryRun: z.boolean().optional() });
export type StorageUndeleteRequest = z.infer<typeof StorageUndeleteRequest>;

export const StorageUndeleteResult = z.object({ url: z.string(), keys: z.array(z.string()) });
export type StorageUndeleteResult = z.infer<typeof StorageUndeleteResult>;

export interface RepositoryApi {
  init(request: InitRequest, options?: CallOptions): Promise<NewRepositoryDto>;
  status(options?: CallOptions): Promise<RepositoryDto>;
  /** Holds a user's own storage to what repositories need, and measures it, in a folder that is removed again. */
  storageTest(request: StorageTestRequest, options?: CallOptions): Promise<StorageTestResult>;
  /**
   * Brings back what plain deletes hid in an S3 bucket that keeps versions. Returns the keys, in the bucket, of what
   * came back. `dryRun` only says which.
   */
  storageUndelete(request: StorageUndeleteRequest, options?: CallOptions): Promise<StorageUndeleteResult>;
}
