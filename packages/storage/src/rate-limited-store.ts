/** A store whose bodies come and go no faster than they are allowed to. */
import { type Clock, KiB, MiB, systemClock, TokenBucket, toPrimaError } from '@prima/base';
import { filterStore } from './filter-store.ts';
import type { ObjectRange, ObjectStore, StoreCallOptions } from './object-store.ts';
import { bodyLength } from './store-key.ts';

export interface RateLimits {
  /** Bytes of bodies a second, on average; undefined: no limit. */
  upload?: number;
  download?: number;
  clock?: Clock;
}

/** Callers take turns with pieces of this size, so that a large body does not hold up a small one. */
const turnBytes = 64 * KiB;
/** What is read at once of a store that does not pace. */
const pieceBytes = MiB;

/**
 * `store` within `limits`. Stores that pace are slowed piece by piece, also when a wrapper below sends a body again.
 * Of others, reads are cut into ranges of 1 MiB, and a body that is stored waits for its turn and then goes at once.
 * What a cache above answers costs nothing; so put the cache above. Closing it closes `store`.
 */
export function rateLimitedStore(store: ObjectStore, limits: RateLimits): ObjectStore {
  const { clock = systemClock } = limits;
  const up = limiter(limits.upload, clock);
  const down = limiter(limits.download, clock);
  const paces = store.paces === true;
  return filterStore(store, {
    putIfAbsent: async (key, body, options) => {
      if (!up) return await store.putIfAbsent(key, body, options);
      if (paces) return await store.putIfAbsent(key, body, { ...options, pace: pacedBy(up, options) });
      await up(bodyLength(body), options?.signal);
      return await store.putIfAbsent(key, body, options);
    },
    get: async (key, range, options) => {
      if (!down) return await store.get(key, range, options);
      if (paces) return await store.get(key, range, { ...options, pace: pacedBy(down, options) });
      return await getInPieces({ store, take: down }, { key, range }, options);
    },
  });
}

type Take = (bytes: number, signal: AbortSignal | undefined) => Promise<void>;

function limiter(bytesPerSecond: number | undefined, clock: Clock): Take | undefined {
  if (bytesPerSecond === undefined) return undefined;
  const bucket = new TokenBucket({ tokensPerSecond: bytesPerSecond, clock });
  return async (bytes, signal) => {
    for (let taken = 0; taken < bytes; taken += turnBytes) {
      await bucket.take(Math.min(turnBytes, bytes - taken), signal).catch((error: unknown) => {
        throw toPrimaError(error, 'waiting for the bandwidth limit');
      });
    }
  };
}

/** The caller's own pace and this one's. */
function pacedBy(take: Take, options: StoreCallOptions = {}): (bytes: number) => Promise<void> {
  return async (bytes) => {
    await take(bytes, options.signal);
    await options.pace?.(bytes);
  };
}

async function getInPieces(
  { store, take }: { store: ObjectStore; take: Take },
  { key, range }: { key: string; range: ObjectRange | undefined },
  options: StoreCallOptions = {},
): Promise<Uint8Array> {
  const whole = range ?? (await wholeOf(store, key, options));
  if (whole === undefined || whole.length <= pieceBytes) {
    await take(whole?.length ?? 0, options.signal);
    return await store.get(key, range, options);
  }
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < whole.length; at += pieceBytes) {
    const length = Math.min(pieceBytes, whole.length - at);
    await take(length, options.signal);
    pieces.push(await store.get(key, { offset: whole.offset + at, length }, options));
  }
  return Buffer.concat(pieces);
}

/** Undefined where there is no such object: reading it raises the right error. */
async function wholeOf(
  store: ObjectStore,
  key: string,
  options: StoreCallOptions,
): Promise<ObjectRange | undefined> {
  const found = await store.stat(key, options);
  return found && { offset: 0, length: found.size };
}
