/** Key sets: docs/format/repository.md, "Keys". What encrypts and signs, under the root key. */
import { hkdfSync, randomBytes } from 'node:crypto';
import { IntegrityError, PrimaError } from '@prima/base';
import { isHex, isWithin, parseJson } from '../format/json.ts';
import type { SealingKeys } from './sealer.ts';
import { newSeed, RecordSigner, verifyRecord } from './signature.ts';
import type { SlotContent } from './key-slot.ts';
import { unwrap, type Wrapping, wrap } from './wrapping.ts';

export interface KeySet {
  /** From 1; a rotation makes the next. */
  number: number;
  /** ISO 8601. */
  created: string;
  idKey: Buffer;
  epochs: { epoch: number; key: Buffer }[];
  /** The epoch for writing. */
  epoch: number;
  /** Public keys, 64 hex digits; the last is in force. */
  signers: string[];
  /** The private key of the signer in force, 32 bytes; undefined for who may only read. */
  seed?: Buffer;
}

export const maxKeySets = 9999;
const noNonce = Buffer.alloc(12);

export const keySetKey = (number: number) => `keyset/${String(number).padStart(4, '0')}`;

export function newKeySet(created: string): KeySet & { seed: Buffer } {
  const seed = newSeed();
  return {
    number: 1,
    created,
    idKey: randomBytes(32),
    epochs: [{ epoch: 1, key: randomBytes(32) }],
    epoch: 1,
    signers: [new RecordSigner(seed).publicKey],
    seed,
  };
}

/** The key set after `keySet`, with a new epoch for writing. */
export function nextEpoch(keySet: KeySet, created: string): KeySet {
  const epoch = Math.max(...keySet.epochs.map((entry) => entry.epoch)) + 1;
  const epochs = [...keySet.epochs, { epoch, key: randomBytes(32) }];
  return { ...keySet, number: keySet.number + 1, created, epochs, epoch };
}

/** The key set after `keySet` under a new root key: with a new epoch, and a new signer in force. */
export function nextRoot(keySet: KeySet, created: string): KeySet & { seed: Buffer } {
  const seed = newSeed();
  const signers = [...keySet.signers, new RecordSigner(seed).publicKey];
  return { ...nextEpoch(keySet, created), signers, seed };
}

/** The part of the key set that sealing and opening need. */
export function sealingKeys(keySet: KeySet, repositoryId: string, level: number): SealingKeys {
  return {
    repositoryId: Buffer.from(repositoryId, 'hex'),
    idKey: keySet.idKey,
    epochs: [...keySet.epochs],
    epoch: keySet.epoch,
    level,
  };
}

/** What a slot for reading holds instead of the root key. */
export function readingKeyOf(content: Pick<SlotContent, 'key' | 'access'>): Buffer {
  return content.access === 'read' ? content.key : derive(content.key, noSalt, 'prima reading key 1');
}

/** The key set as it is stored. `keySet.seed` must be there. */
export function writeKeySet(
  keySet: KeySet & { seed: Buffer },
  rootKey: Buffer,
  repositoryId: string,
): string {
  const { number, seed } = keySet;
  const salt = randomBytes(16);
  const plain = {
    created: keySet.created,
    idKey: keySet.idKey.toString('hex'),
    epochs: Object.fromEntries(keySet.epochs.map(({ epoch, key }) => [epoch, key.toString('hex')])),
    epoch: keySet.epoch,
    signers: keySet.signers,
  };
  const scope = { number, salt, repositoryId };
  const readingKey = readingKeyOf({ key: rootKey, access: 'full' });
  const record = {
    format: 'prima-keyset',
    version: 1,
    number,
    salt: salt.toString('hex'),
    keys: wrap(Buffer.from(JSON.stringify(plain)), wrapping(readingKey, { ...scope, part: 'keys' })),
    signing: wrap(seed, wrapping(rootKey, { ...scope, part: 'signing' })),
  };
  return new RecordSigner(seed).write(record, { repositoryId, objectKey: keySetKey(number) });
}

/**
 * Opens a stored key set with what a slot held, or undefined when that is not its key.
 * Raises `integrity` when it is its key and the set is not what its writer signed, `newer-version`.
 */
export function openKeySet(
  text: string,
  content: SlotContent,
  about: { number: number; repositoryId: string },
): KeySet | undefined {
  const { number, repositoryId } = about;
  const objectKey = keySetKey(number);
  const record = parseJson(text, objectKey);
  if (record['format'] === 'prima-keyset' && isWithin(record['version'], 2, Infinity)) {
    throw new PrimaError(
      'newer-version',
      `${objectKey} was written by a newer version of Prima; update Prima to read it`,
    );
  }
  const { salt, keys, signing } = record;
  if (!isHex(salt, 16) || typeof keys !== 'string' || typeof signing !== 'string') return undefined;
  const scope = { number, salt: Buffer.from(salt, 'hex'), repositoryId };
  const plain = unwrap(keys, wrapping(readingKeyOf(content), { ...scope, part: 'keys' }));
  if (!plain) return undefined;
  verifyRecord(text, { repositoryId, objectKey }, [content.signer]);
  const keySet = parseKeys(plain, number);
  if (content.access === 'read') return keySet;
  const seed = unwrap(signing, wrapping(content.key, { ...scope, part: 'signing' }));
  if (!seed || new RecordSigner(seed).publicKey !== content.signer)
    throw new IntegrityError(`${objectKey} holds another signing key than the key slots name`);
  return { ...keySet, seed };
}

/** The bytes are authenticated: only their outline is checked. */
function parseKeys(bytes: Buffer, number: number): KeySet {
  const value = parseJson(bytes.toString(), keySetKey(number)) as {
    created: string;
    idKey: string;
    epochs: Record<string, string>;
    epoch: number;
    signers: string[];
  };
  return {
    number,
    created: value.created,
    idKey: Buffer.from(value.idKey, 'hex'),
    epochs: Object.entries(value.epochs).map(([epoch, key]) => ({
      epoch: Number(epoch),
      key: Buffer.from(key, 'hex'),
    })),
    epoch: value.epoch,
    signers: value.signers,
  };
}

interface SealScope {
  part: 'keys' | 'signing';
  number: number;
  salt: Buffer;
  repositoryId: string;
}

/** The salt is new for each key set, so each key is used once. */
function wrapping(key: Buffer, { part, salt, number, repositoryId }: SealScope): Wrapping {
  return {
    key: derive(key, salt, `prima keyset ${part} 1`),
    nonce: noNonce,
    context: `prima-keyset:1:${repositoryId}:${number}:${part}`,
  };
}

const noSalt = Buffer.alloc(0);

function derive(key: Buffer, salt: Buffer, info: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, salt, info, 32));
}
