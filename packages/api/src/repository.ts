/** What the contract says of a repository as a whole and of the storage below it. */
import type { CallOptions } from './call.ts';

export interface RepositoryDto {
  id: string;
  url: string;
  chunkSize: number;
  points: number;
  packs: number;
  storedBytes: number;
  /** Distinct chunks, pages and files. */
  blobs: number;
}

/** With the words of the recovery key, where one was asked for: shown once, kept nowhere. */
export interface NewRepositoryDto extends RepositoryDto {
  words?: string[];
}

export interface StorageTestResult {
  url: string;
  /** False when a promise is broken. */
  ok: boolean;
  promises: {
    promise: string;
    /** `untested`: cannot be tested from here; `absent`: not offered, and a repository works without. */
    verdict: 'kept' | 'broken' | 'absent' | 'untested';
    detail: string;
    advice?: string;
  }[];
  /** Missing when a promise is broken. */
  figures?: {
    putBytesPerSecond: number;
    getBytesPerSecond: number;
    putMs: number;
    getMs: number;
    smallPutsPerSecond: number;
  };
  /** Objects of the test that the store keeps for some minutes (retention). */
  left: string[];
  elapsedMs: number;
}

export interface RepositoryApi {
  init(
    request: {
      chunkSize?: number;
      level?: number;
      readBack?: boolean;
      label?: string;
      lockMs?: number;
      /** Makes a recovery key besides. */
      recovery?: boolean;
    },
    options?: CallOptions,
  ): Promise<NewRepositoryDto>;
  status(options?: CallOptions): Promise<RepositoryDto>;
  /** Holds a user's own storage to what repositories need, and measures it, in a folder that is removed again. */
  storageTest(request: { url: string }, options?: CallOptions): Promise<StorageTestResult>;
  /**
   * Brings back what plain deletes hid in an S3 bucket that keeps versions. Returns the keys, in the bucket, of what
   * came back. `dryRun` only says which.
   */
  storageUndelete(
    request: { url: string; dryRun?: boolean },
    options?: CallOptions,
  ): Promise<{ url: string; keys: string[] }>;
}
