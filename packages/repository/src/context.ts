/** What every part of an open repository shares, and the small encrypted objects it keeps by name. */
import { type Clock, type Logger, PrimaError } from '@prima/base';
import { type ObjectStore, rateLimitedStore, type StoreCallOptions } from '@prima/storage';
import { DamageRegister } from './damage/register.ts';
import type { Trust } from './contract.ts';
import type { Keyring } from './crypto/keyring.ts';
import type { Opener, Sealer, SealingKeys } from './crypto/sealer.ts';
import { verifyRecordAside } from './crypto/signature.ts';
import type { BlobType } from './format/blob.ts';
import { parseJson } from './format/json.ts';
import type { ThreadReserve } from './pool/thread-reserve.ts';
import { OutcomeCatalogue } from './session/outcome-catalogue.ts';
import { RootLog } from './session/root-log.ts';

export { hexOf, idFromHex } from './format/hex-id.ts';

export interface Context {
  readonly id: string;
  readonly store: ObjectStore;
  readonly keyring: Keyring;
  readonly keys: SealingKeys;
  readonly chunkSize: number;
  readonly readBack: boolean;
  /** How long points are locked at least; undefined: not at all. */
  readonly lockMs?: number | undefined;
  /** Bytes at which a pack is closed. */
  readonly packBytes: number;
  readonly workers: number | undefined;
  /** Where pools get their threads. */
  readonly threads: ThreadReserve;
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
  /** The log of roots. */
  readonly log: RootLog;
}

/**
 * @param local where what was read may be kept for the next time, and what remembers the newest state seen
 */
export function newContext(
  parts: Omit<Context, 'id' | 'keys' | 'sealer' | 'opener' | 'catalogue' | 'log' | 'damage'>,
  local: { cacheFolder?: string; trust?: Trust } = {},
): Context {
  const { keyring, logger } = parts;
  const { keys, opener, repositoryId } = keyring;
  const { sealer } = keyring;
  const folder = local.cacheFolder;
  const catalogue = new OutcomeCatalogue({ repositoryId, folder, sealer, opener, logger });
  const log = new RootLog(() => context, local.trust);
  const context: Context = {
    ...parts,
    id: repositoryId,
    keys,
    get sealer() {
      return keyring.sealer;
    },
    opener,
    catalogue,
    log,
    damage: new DamageRegister(),
  };
  return context;
}

/** `context` as one session has it that stores no more than `rate` bytes a second. What changes in `context` changes in it, too. */
export function storingAt(context: Context, rate: number): Context {
  const { clock } = context;
  const store = rateLimitedStore(context.store, { upload: rate, clock });
  return Object.create(context, { store: { value: store, enumerable: true } }) as Context;
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

/** `putRecord` of a signed record. Raises `refused` where the repository was opened for reading only. */
export async function putSigned(context: Context, key: string, type: BlobType, record: object) {
  const text = context.keyring.signer().write(record, { repositoryId: context.id, objectKey: key });
  return await putSealed(context, key, type, Buffer.from(text));
}

/**
 * Reads and opens the object `key`; bytes that do not open are read once more, past any cache, for they may have been
 * damaged on the way. Raises `not-found`, `integrity`, `newer-version`.
 */
export async function getSealed(
  context: Context,
  key: string,
  type: BlobType,
  options: StoreCallOptions = {},
): Promise<{ plain: Buffer; stored: Uint8Array }> {
  const read = async (fresh: boolean) => {
    const stored = await context.store.get(key, undefined, { ...options, fresh });
    return { plain: await openBlob(context, stored, { type, objectKey: key }, key), stored };
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

/** Opens a blob on this thread; one of an epoch that is not known yet sends for the newest key set. */
export async function openBlob(
  context: Context,
  blob: Uint8Array,
  wanted: { type: BlobType; id?: Uint8Array; objectKey?: string },
  where: string,
): Promise<Buffer> {
  await context.keyring.learnEpochOf(blob);
  return context.opener.open(blob, wanted, where);
}

/** A record is authenticated, so only its outline is checked again. */
export async function getRecord(context: Context, key: string, type: BlobType): Promise<object> {
  const { plain } = await getSealed(context, key, type);
  return parseRecord(plain, key);
}

/**
 * Reads a signed record and verifies it. Raises `not-found`, `integrity`, `newer-version`.
 * @param signers who may have signed it; default: who ever signed for this repository
 */
export async function getSigned(
  context: Context,
  key: string,
  type: BlobType,
  signers: readonly string[] = context.keyring.keySet.signers,
): Promise<{ record: object; stored: Uint8Array }> {
  const { plain, stored } = await getSealed(context, key, type);
  const text = plain.toString();
  await verifyRecordAside(text, { repositoryId: context.id, objectKey: key }, signers);
  const { signature: _signature, ...record } = parseJson(text, key);
  return { record, stored };
}

export function parseRecord(plain: Uint8Array, key: string): object {
  return parseJson(Buffer.from(plain).toString(), key);
}
