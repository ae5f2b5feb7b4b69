/** What every part of an open repository shares, and the small encrypted objects it keeps by name. */
import { type Clock, type Logger, PrimaError } from '@prima/base';
import type { ObjectStore, StoreCallOptions } from '@prima/storage';
import { DamageRegister } from './damage/register.ts';
import { parseJson } from './crypto/keys.ts';
import { Opener, Sealer, type SealingKeys } from './crypto/sealer.ts';
import type { BlobType } from './format/blob.ts';
import { OutcomeCatalogue } from './session/outcome-catalogue.ts';

export { hexOf, idFromHex } from './format/hex-id.ts';

export interface Context {
  readonly id: string;
  readonly store: ObjectStore;
  readonly keys: SealingKeys;
  readonly chunkSize: number;
  readonly readBack: boolean;
  /** How long points are locked at least; undefined: not at all. */
  readonly lockMs?: number | undefined;
  /** Bytes at which a pack is closed. */
  readonly packBytes: number;
  readonly workers: number | undefined;
  /** Stored bytes after which a backup makes a checkpoint; undefined: the default. */
  readonly checkpointBytes?: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For small metadata on the main thread. */
  readonly sealer: Sealer;
  readonly opener: Opener;
  /** Outcomes that were read before. */
  readonly catalogue: OutcomeCatalogue;
  /** What is known not to be readable. */
  readonly damage: DamageRegister;
}

/** @param cacheFolder where what was read may be kept for the next time */
export function newContext(
  parts: Omit<Context, 'sealer' | 'opener' | 'catalogue' | 'damage'>,
  cacheFolder?: string,
): Context {
  const sealer = new Sealer(parts.keys);
  const opener = new Opener(parts.keys);
  const { id: repositoryId, logger } = parts;
  const catalogue = new OutcomeCatalogue({ repositoryId, folder: cacheFolder, sealer, opener, logger });
  return { ...parts, sealer, opener, catalogue, damage: new DamageRegister() };
}

/** Seals bytes for the object `key` and creates it. */
export async function putSealed(
  context: Context,
  key: string,
  type: BlobType,
  plain: Uint8Array,
): Promise<{ result: 'created' | 'exists'; stored: Uint8Array }> {
  const stored = context.sealer.sealObject(type, plain, key);
  return { result: await context.store.putIfAbsent(key, stored), stored };
}

export async function putRecord(context: Context, key: string, type: BlobType, record: object) {
  return await putSealed(context, key, type, Buffer.from(JSON.stringify(record)));
}

/**
 * Reads and opens the object `key`; bytes that do not open are read once more, past any cache, for they may have been
 * damaged on the way. Raises `not-found`, `integrity`, `newer-version`.
 */
export async function getSealed(
  context: Context,
  key: string,
  type: BlobType,
  options: Pick<StoreCallOptions, 'fresh'> = {},
): Promise<{ plain: Buffer; stored: Uint8Array }> {
  const read = async (fresh: boolean) => {
    const stored = await context.store.get(key, undefined, { ...options, fresh });
    return { plain: context.opener.open(stored, { type, objectKey: key }, key), stored };
  };
  if (options.fresh === true) return await read(true);
  try {
    return await read(false);
  } catch (error) {
    const isDamaged = error instanceof PrimaError && ['integrity', 'newer-version'].includes(error.code);
    if (isDamaged) return await read(true);
    throw error;
  }
}

/** A record is authenticated, so only its outline is checked again. */
export async function getRecord(context: Context, key: string, type: BlobType): Promise<object> {
  const { plain } = await getSealed(context, key, type);
  return parseRecord(plain, key);
}

export function parseRecord(plain: Uint8Array, key: string): object {
  return parseJson(Buffer.from(plain).toString(), key);
}
