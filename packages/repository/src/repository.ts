/** Creating and opening repositories. */
import { PrimaError } from '@prima/base';
import type { ObjectStore } from '@prima/storage';
import type { Repository, Secret } from './contract.ts';

export interface CreateOptions {
  secret: Secret;
  label?: string;
  /** Bytes, a power of two, 256 KiB to 4 MiB. Default 1 MiB. */
  chunkSize?: number;
  /** zstd level of chunks. Default 1. */
  level?: number;
  /** Decompress and compare each chunk before it is stored. Default true. */
  readBack?: boolean;
}

/** Makes a new repository in an empty store and opens it. Raises `exists`. */
export async function createRepository(store: ObjectStore, _options: CreateOptions): Promise<Repository> {
  throw new PrimaError('internal', `cannot create ${store.url} yet`);
}

/** Opens a repository. Raises `not-found`, `wrong-key`, `newer-version`, `integrity`. */
export async function openRepository(store: ObjectStore, _secret: Secret): Promise<Repository> {
  throw new PrimaError('internal', `cannot open ${store.url} yet`);
}
