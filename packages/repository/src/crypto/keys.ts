/**
 * The key set and its slots: docs/format/repository.md, "Keys". The key set is random and never
 * changes its bytes; a slot wraps it under a passphrase or a key file.
 */
import { argon2, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError, PrimaError, UserError } from '@prima/base';
import type { KeySlotInfo, Secret } from '../contract.ts';
import type { SealingKeys } from './sealer.ts';

export interface KeySet {
  idKey: Buffer;
  configKey: Buffer;
  epochs: { epoch: number; key: Buffer }[];
  epoch: number;
}

interface Kdf {
  name: 'argon2id';
  memoryKiB: number;
  passes: number;
  lanes: number;
  /** 16 bytes in hex. */
  salt: string;
}

export interface KeySlot extends KeySlotInfo {
  kdf: Kdf;
  nonce: string;
  wrapped: string;
}

/** What guessing a passphrase costs; see the bounds in the format. */
export interface KdfCost {
  memoryKiB: number;
  passes: number;
  lanes: number;
}

/** RFC 9106, section 4, second recommended option (64 MiB, 3 passes, 4 lanes). */
const defaultCost: KdfCost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };
const tagBytes = 16;
/** UTF-16 code units of a slot's label and time. */
const maxTextLength = 1000;

export function newKeySet(): KeySet {
  return {
    idKey: randomBytes(32),
    configKey: randomBytes(32),
    epochs: [{ epoch: 1, key: randomBytes(32) }],
    epoch: 1,
  };
}

/** The part of the key set that sealing and opening need. */
export function sealingKeys(keySet: KeySet, repositoryId: string, level: number): SealingKeys {
  return {
    repositoryId: Buffer.from(repositoryId, 'hex'),
    idKey: keySet.idKey,
    epochs: keySet.epochs,
    epoch: keySet.epoch,
    level,
  };
}

/** Wraps the key set under `secret`; the slot can be stored in clear. Raises `usage` for too long a label. */
export async function wrapKeySet(
  keySet: KeySet,
  secret: Secret,
  slot: { repositoryId: string; label: string; created: string; cost?: KdfCost },
): Promise<KeySlot> {
  if (slot.label.length > maxTextLength)
    throw new UserError('usage', `the label of a key slot has at most ${maxTextLength} characters`);
  const id = randomBytes(8).toString('hex');
  const kdf: Kdf = { name: 'argon2id', ...(slot.cost ?? defaultCost), salt: randomBytes(16).toString('hex') };
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', await wrappingKey(secret, kdf), nonce);
  cipher.setAAD(slotContext(slot.repositoryId, id, secret.kind));
  const wrapped = Buffer.concat([cipher.update(writeKeySet(keySet)), cipher.final(), cipher.getAuthTag()]);
  return {
    id,
    kind: secret.kind,
    label: slot.label,
    created: slot.created,
    kdf,
    nonce: nonce.toString('hex'),
    wrapped: wrapped.toString('hex'),
  };
}

/** The key set, or undefined when `secret` is not the one this slot was made with. */
export async function unwrapKeySet(
  slot: KeySlot,
  secret: Secret,
  repositoryId: string,
): Promise<KeySet | undefined> {
  if (slot.kind !== secret.kind) return undefined;
  const wrapped = Buffer.from(slot.wrapped, 'hex');
  const decipher = createDecipheriv(
    'aes-256-gcm',
    await wrappingKey(secret, slot.kdf),
    Buffer.from(slot.nonce, 'hex'),
  );
  decipher.setAAD(slotContext(repositoryId, slot.id, slot.kind));
  decipher.setAuthTag(wrapped.subarray(-tagBytes));
  try {
    return parseKeySet(Buffer.concat([decipher.update(wrapped.subarray(0, -tagBytes)), decipher.final()]));
  } catch (error) {
    if (error instanceof PrimaError) throw error;
    return undefined; // GCM says: not this key
  }
}

export function writeKeySlot(slot: KeySlot): string {
  return JSON.stringify({ format: 'prima-key-slot', version: 1, ...slot });
}

/** Parses a slot from the store; nothing in it is trusted before it unwraps. */
export function parseKeySlot(text: string, where: string): KeySlot {
  const value = parseJson(text, where);
  if (value['format'] !== 'prima-key-slot') throw new FormatError(`${where} is not a key slot`);
  if (value['version'] !== 1) {
    throw new PrimaError(
      'newer-version',
      `${where} was written by a newer version of Prima; update Prima to read it`,
    );
  }
  const kdf = value['kdf'] as Partial<Kdf> | undefined;
  const kind = value['kind'];
  const hex = (key: string, bytes: number) =>
    typeof value[key] === 'string' && new RegExp(`^[0-9a-f]{${bytes * 2}}$`).test(value[key]);
  const within = (n: unknown, low: number, high: number) =>
    Number.isInteger(n) && Number(n) >= low && Number(n) <= high;
  const short = (key: string) => typeof value[key] === 'string' && value[key].length <= maxTextLength;
  const sound =
    short('label') &&
    short('created') &&
    hex('id', 8) &&
    hex('nonce', 12) &&
    typeof value['wrapped'] === 'string' &&
    /^(?:[0-9a-f]{2}){17,8192}$/.test(value['wrapped']) &&
    (kind === 'passphrase' || kind === 'keyfile') &&
    kdf?.name === 'argon2id' &&
    within(kdf.memoryKiB, 8 * 1024, 1024 * 1024) &&
    within(kdf.passes, 1, 16) &&
    within(kdf.lanes, 1, 16) &&
    typeof kdf.salt === 'string' &&
    /^[0-9a-f]{32}$/.test(kdf.salt);
  if (!sound) throw new FormatError(`${where}: the key slot has missing or out-of-range members`);
  return value as unknown as KeySlot;
}

/** Parses JSON that must be an object. Raises `format`. */
export function parseJson(text: string, where: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${where} is not JSON`, { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FormatError(`${where} is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function writeKeySet(keySet: KeySet): Buffer {
  return Buffer.from(
    JSON.stringify({
      idKey: keySet.idKey.toString('hex'),
      configKey: keySet.configKey.toString('hex'),
      epochs: Object.fromEntries(keySet.epochs.map(({ epoch, key }) => [epoch, key.toString('hex')])),
      epoch: keySet.epoch,
    }),
  );
}

function parseKeySet(bytes: Buffer): KeySet {
  const value = parseJson(bytes.toString(), 'the key set') as {
    idKey: string;
    configKey: string;
    epochs: Record<string, string>;
    epoch: number;
  };
  return {
    idKey: Buffer.from(value.idKey, 'hex'),
    configKey: Buffer.from(value.configKey, 'hex'),
    epochs: Object.entries(value.epochs).map(([epoch, key]) => ({
      epoch: Number(epoch),
      key: Buffer.from(key, 'hex'),
    })),
    epoch: value.epoch,
  };
}

function slotContext(repositoryId: string, slotId: string, kind: string): Buffer {
  return Buffer.from(`prima-key-slot:1:${repositoryId}:${slotId}:${kind}`);
}

const argon2Async = promisify(argon2);

async function wrappingKey(secret: Secret, kdf: Kdf): Promise<Buffer> {
  const message =
    secret.kind === 'passphrase' ? Buffer.from(secret.text.normalize('NFC')) : Buffer.from(secret.bytes);
  return await argon2Async('argon2id', {
    message,
    nonce: Buffer.from(kdf.salt, 'hex'),
    parallelism: kdf.lanes,
    tagLength: 32,
    memory: kdf.memoryKiB,
    passes: kdf.passes,
  });
}
