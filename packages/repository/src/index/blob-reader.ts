/** Fetches stored blobs by id; when a collection moved one, looks again in a fresh index. */
import { IntegrityError, PrimaError } from '@prima/base';
import { type Context, hexOf } from '../context.ts';
import { blobHeaderBytes, type BlobType } from '../format/blob.ts';
import { packKey } from '../format/pack.ts';
import { RepositoryIndex } from './repository-index.ts';

export interface StoredBlob {
  bytes: Uint8Array;
  /** Pack and offset, for errors. */
  where: string;
}

export class BlobReader {
  readonly #context: Context;
  #index: RepositoryIndex;
  #reloading: Promise<RepositoryIndex> | undefined;

  constructor(context: Context, index: RepositoryIndex) {
    this.#context = context;
    this.#index = index;
  }

  get index(): RepositoryIndex {
    return this.#index;
  }

  /** Reads the index afresh; callers at the same time share one reading. */
  async reload(): Promise<RepositoryIndex> {
    this.#reloading ??= RepositoryIndex.load(this.#context).finally(() => {
      this.#reloading = undefined;
    });
    this.#index = await this.#reloading;
    return this.#index;
  }

  /** The blob as stored. Raises `integrity` when it is nowhere. */
  async fetch(id: Uint8Array, signal?: AbortSignal): Promise<StoredBlob> {
    return (await this.#tryFetch(id, signal)) ?? (await this.#fetchAfterReload(id, signal));
  }

  /** Fetches and opens small metadata on this thread. */
  async open(id: Uint8Array, type: BlobType, signal?: AbortSignal): Promise<Buffer> {
    const { bytes, where } = await this.fetch(id, signal);
    return this.#context.opener.open(bytes, { type, id }, where);
  }

  async #fetchAfterReload(id: Uint8Array, signal?: AbortSignal): Promise<StoredBlob> {
    await this.reload();
    const found = await this.#tryFetch(id, signal);
    if (found) return found;
    const at = this.#index.find(id);
    throw new IntegrityError(
      at
        ? `pack ${at.in.name} is missing from the repository; it held the chunk ${hexOf(id)}`
        : `no pack of the repository holds the chunk ${hexOf(id)}`,
      { details: { id: hexOf(id), ...(at ? { pack: at.in.name } : {}) } },
    );
  }

  async #tryFetch(id: Uint8Array, signal?: AbortSignal): Promise<StoredBlob | undefined> {
    const place = this.#index.find(id);
    if (!place) return undefined;
    const key = packKey(place.in.kind, place.in.name);
    const where = `${key} at ${place.offset}`;
    if (place.length < blobHeaderBytes)
      throw new IntegrityError(`${where}: the index gives a blob of ${place.length} bytes`);
    try {
      const range = { offset: place.offset, length: place.length };
      const bytes = await this.#context.store.get(key, range, signal ? { signal } : {});
      return { bytes, where };
    } catch (error) {
      if (error instanceof PrimaError && error.code === 'not-found') return undefined;
      throw error;
    }
  }
}
