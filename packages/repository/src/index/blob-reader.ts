/**
 * Fetches and opens stored blobs by id. When a collection moved one, looks again in a fresh index; what does not
 * open is read a second time, past every cache, and then noted as damage, and another place is looked for.
 */
import { IntegrityError, PrimaError, toPrimaError } from '@prima/base';
import { type Context, hexOf, openBlob } from '../context.ts';
import { assertReachable, isDamage } from '../damage/lists.ts';
import { blobHeaderBytes, type BlobType } from '../format/blob.ts';
import { packKey } from '../format/pack.ts';
import { PackWindows } from './pack-windows.ts';
import { type LoadOptions, type Located, RepositoryIndex } from './repository-index.ts';

/**
 * Opens a blob as it is stored, whose bytes are lent until it has settled; `where` is its pack and offset, for errors.
 * Raises `integrity` when it is not what it should be.
 */
export type OpenBlob<T> = (bytes: Uint8Array, where: string) => Promise<T>;

/** Why a place gave no blob. */
interface Failure {
  error: PrimaError;
  isMissing: boolean;
}

/** The index is read again at most this often for one blob: collections do not follow each other that fast. */
const maxReloads = 3;

export class BlobReader {
  readonly #context: Context;
  readonly #windows: PackWindows;
  readonly #loading: Pick<LoadOptions, 'also'>;
  #index: RepositoryIndex;
  #reloading: Promise<RepositoryIndex> | undefined;

  /** @param loading how `index` was loaded, and is again when something was moved */
  constructor(context: Context, index: RepositoryIndex, loading: Pick<LoadOptions, 'also'> = {}) {
    this.#context = context;
    this.#loading = loading;
    this.#windows = new PackWindows(context.store);
    this.#index = index;
  }

  get index(): RepositoryIndex {
    return this.#index;
  }

  /** Reads the index afresh; callers at the same time share one reading. */
  async reload(): Promise<RepositoryIndex> {
    this.#reloading ??= RepositoryIndex.load(this.#context, this.#loading).finally(() => {
      this.#reloading = undefined;
    });
    this.#index = await this.#reloading;
    return this.#index;
  }

  /** Fetches and opens small metadata on this thread. */
  async open(id: Uint8Array, type: BlobType, signal?: AbortSignal): Promise<Buffer> {
    return await this.read(id, (bytes, where) => openBlob(this.#context, bytes, { type, id }, where), signal);
  }

  /**
   * Fetches the blob and has it opened, from any place where that succeeds. Raises `integrity` when there is
   * none (the damage is noted in the context then), and what the store raises.
   */
  async read<T>(id: Uint8Array, open: OpenBlob<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await this.#readAnywhere(id, open, signal);
    } catch (error) {
      // why others gave up, such as damage elsewhere, says nothing of this blob
      throw signal?.aborted ? cancelledBy(signal, id) : error;
    }
  }

  async #readAnywhere<T>(id: Uint8Array, open: OpenBlob<T>, signal?: AbortSignal): Promise<T> {
    for (let reloads = 0; ; ) {
      const index = this.#index;
      const place = index.find(id);
      const found = place && (await this.#tryPlace(place, id, { open, signal }));
      if (found && 'value' in found) return found.value;
      const mayHaveMoved = !found || found.isMissing;
      if (mayHaveMoved && reloads < maxReloads && (await this.#isStale(index, signal))) {
        reloads += 1;
        await this.reload();
        continue;
      }
      if (!found) throw this.#nowhere(id);
      if (!place.isDamaged) this.#note(place, id, found);
      if (this.#index.find(id)?.isDamaged) throw lostIn(place, id, found);
    }
  }

  /**
   * Whether what `index` was read from has changed. A collection deletes the segments that its own replace before
   * it deletes a pack, so a pack that is missing while nothing has changed was not moved.
   */
  async #isStale(index: RepositoryIndex, signal?: AbortSignal): Promise<boolean> {
    if (index !== this.#index) return true; // somebody has read it again meanwhile
    const known = new Set([...index.segments, ...index.unreadable]);
    for await (const { key } of this.#context.store.list('index/', {
      namesOnly: true,
      fresh: true,
      signal,
    })) {
      if (!known.delete(key)) return true;
    }
    return known.size > 0;
  }

  /** One place: its value, or why there is none. Raises what says nothing about the stored bytes. */
  async #tryPlace<T>(
    place: Located,
    id: Uint8Array,
    { open, signal }: { open: OpenBlob<T>; signal: AbortSignal | undefined },
  ): Promise<{ value: T } | Failure> {
    for (const fresh of place.isDamaged ? [true] : [false, true]) {
      try {
        return { value: await this.#look(place, { open, fresh, signal }) };
      } catch (error) {
        if (signal?.aborted) throw cancelledBy(signal, id);
        const failure = toPrimaError(error, `reading the chunk ${hexOf(id)}`);
        const isMissing = failure.code === 'not-found';
        if (!isMissing && !isDamage(failure)) throw failure;
        if (!fresh) continue;
        await assertReachable(this.#context, failure.message);
        return { error: failure, isMissing };
      }
    }
    throw new IntegrityError('a second read was made');
  }

  async #look<T>(
    place: Located,
    { open, fresh, signal }: { open: OpenBlob<T>; fresh: boolean; signal: AbortSignal | undefined },
  ): Promise<T> {
    const key = packKey(place.in.kind, place.in.name);
    const where = `${key} at ${place.offset}`;
    if (place.length < blobHeaderBytes)
      throw new IntegrityError(`${where}: the index gives a blob of ${place.length} bytes`);
    const { offset, length } = place;
    if (fresh)
      return await open(await this.#context.store.get(key, { offset, length }, { signal, fresh }), where);
    const range = { key, offset, length, packSize: place.in.size };
    return await this.#windows.use(range, { signal }, (bytes) => open(bytes, where));
  }

  #note(place: Located, id: Uint8Array, failure: Failure): void {
    const { name, kind } = place.in;
    const ids = failure.isMissing ? 'all' : [hexOf(id)];
    this.#context.damage.note({ pack: name, kind, ids, why: lostIn(place, id, failure).message });
  }

  #nowhere(id: Uint8Array): PrimaError {
    const hex = hexOf(id);
    return new IntegrityError(`no pack of the repository holds the chunk ${hex}`, { details: { id: hex } });
  }
}

function cancelledBy({ reason }: AbortSignal, id: Uint8Array): PrimaError {
  const doing = `reading the chunk ${hexOf(id)}`;
  const cause = toPrimaError(reason, doing);
  return cause.code === 'cancelled'
    ? cause
    : new PrimaError('cancelled', `cancelled while ${doing}`, { cause });
}

function lostIn(place: Located, id: Uint8Array, { error, isMissing }: Failure): PrimaError {
  if (!isMissing) return error;
  const { name } = place.in;
  return new IntegrityError(`pack ${name} is missing from the repository; it held the chunk ${hexOf(id)}`, {
    details: { id: hexOf(id), pack: name },
    cause: error,
  });
}
