/**
 * Key slots: docs/format/repository.md, "Keys". A slot wraps the root key (or only the reading key) under one
 * passphrase, key file or recovery key.
 */
import { argon2, hkdfSync, randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { FormatError, PrimaError, UserError } from '@prima/base';
import type { KeySlotInfo, Secret } from '../contract.ts';
import { isHex, isWithin, parseJson } from '../format/json.ts';
import { recoveryKeyOf } from './recovery-words.ts';
import type { RecordSigner } from './signature.ts';
import { unwrap, wrap, wrapTagBytes } from './wrapping.ts';

type Kdf =
  | {
      name: 'argon2id';
      memoryKiB: number;
      passes: number;
      lanes: number;
      /** 16 bytes in hex. */
      salt: string;
    }
  | { name: 'hkdf-sha256'; salt: string };

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

/** What a slot gives to who has its secret. */
export interface SlotContent {
  /** The root key or, for `read`, the reading key: 32 bytes. */
  key: Buffer;
  access: KeySlotInfo['access'];
  /** The public key of the signer in force, 64 hex digits. */
  signer: string;
}

/** RFC 9106, section 4, second recommended option (64 MiB, 3 passes, 4 lanes). */
const defaultCost: KdfCost = { memoryKiB: 64 * 1024, passes: 3, lanes: 4 };
const keyBytes = 32;
/** UTF-16 code units of a slot's label and time. */
const maxTextLength = 1000;

export const slotKey = (id: string) => `keys/${id}`;

/** Wraps `content` under `secret`; the slot can be stored in clear. Raises `usage` for too long a label. */
export async function wrapSlot(
  content: SlotContent,
  secret: Secret,
  slot: { repositoryId: string; label: string; created: string; cost?: KdfCost },
): Promise<KeySlot> {
  const { label, created, repositoryId } = slot;
  if (label.length > maxTextLength)
    throw new UserError('usage', `the label of a key slot has at most ${maxTextLength} characters`);
  const { kind } = secret;
  const { access } = content;
  const id = randomBytes(8).toString('hex');
  const kdf = newKdf(kind, slot.cost ?? defaultCost);
  const nonce = randomBytes(12);
  const key = await wrappingKey(secret, kdf);
  const plain = Buffer.concat([content.key, Buffer.from(content.signer, 'hex')]);
  const wrapped = wrap(plain, { key, nonce, context: slotContext({ id, kind, access }, repositoryId) });
  return {
    id,
    kind,
    access,
    label,
    created,
    kdf,
    nonce: nonce.toString('hex'),
    wrapped,
  };
}

/** What the slot holds, or undefined when `secret` is not the one it was made with. */
export async function unwrapSlot(
  slot: KeySlot,
  secret: Secret,
  repositoryId: string,
): Promise<SlotContent | undefined> {
  if (slot.kind !== secret.kind) return undefined;
  const plain = unwrap(slot.wrapped, {
    key: await wrappingKey(secret, slot.kdf),
    nonce: Buffer.from(slot.nonce, 'hex'),
    context: slotContext(slot, repositoryId),
  });
  if (!plain) return undefined; // not this secret
  return {
    key: plain.subarray(0, keyBytes),
    access: slot.access,
    signer: plain.subarray(keyBytes).toString('hex'),
  };
}

/** The slot as it is stored: signed JSON. */
export function writeKeySlot(slot: KeySlot, signer: RecordSigner, repositoryId: string): string {
  const record = { format: 'prima-key-slot', version: 1, ...slot };
  return signer.write(record, { repositoryId, objectKey: slotKey(slot.id) });
}

/**
 * Parses a slot from the store; nothing in it is trusted before it unwraps.
 * Raises `format`, `newer-version`.
 * @param where the object's key
 */
export function parseKeySlot(text: string, where: string): KeySlot {
  const value = parseJson(text, where);
  if (value['format'] !== 'prima-key-slot') throw new FormatError(`${where} is not a key slot`);
  if (value['version'] !== 1) {
    throw new PrimaError(
      'newer-version',
      `${where} was written by a newer version of Prima; update Prima to read it`,
    );
  }
  const { id, kind, access, label, created, kdf, nonce, wrapped } = value;
  const short = (member: unknown) => typeof member === 'string' && member.length <= maxTextLength;
  const sound =
    short(label) &&
    short(created) &&
    isHex(id, 8) &&
    isHex(nonce, 12) &&
    isHex(wrapped, 2 * keyBytes + wrapTagBytes) &&
    (access === 'full' || access === 'read') &&
    isKdfOf(kind, kdf);
  if (!sound) throw new FormatError(`${where}: the key slot has missing or out-of-range members`);
  return { id, kind, access, label, created, kdf, nonce, wrapped } as KeySlot;
}

/** A kind of secret goes with one KDF: nobody can have a passphrase go through a cheap one. */
function isKdfOf(kind: unknown, kdf: unknown): boolean {
  const { name, memoryKiB, passes, lanes, salt } = (kdf ?? {}) as Record<string, unknown>;
  if (!isHex(salt, 16)) return false;
  if (kind === 'recovery') return name === 'hkdf-sha256';
  return (
    (kind === 'passphrase' || kind === 'keyfile') &&
    name === 'argon2id' &&
    isWithin(memoryKiB, 8 * 1024, 1024 * 1024) &&
    isWithin(passes, 1, 16) &&
    isWithin(lanes, 1, 16)
  );
}

function newKdf(kind: Secret['kind'], cost: KdfCost): Kdf {
  const salt = randomBytes(16).toString('hex');
  return kind === 'recovery' ? { name: 'hkdf-sha256', salt } : { name: 'argon2id', ...cost, salt };
}

function slotContext(slot: Pick<KeySlot, 'id' | 'kind' | 'access'>, repositoryId: string): string {
  return `prima-key-slot:1:${repositoryId}:${slot.id}:${slot.kind}:${slot.access}`;
}

const argon2Async = promisify(argon2);

async function wrappingKey(secret: Secret, kdf: Kdf): Promise<Buffer> {
  const salt = Buffer.from(kdf.salt, 'hex');
  const message = await secretBytes(secret);
  if (kdf.name === 'hkdf-sha256')
    return Buffer.from(hkdfSync('sha256', message, salt, 'prima recovery key 1', keyBytes));
  return await argon2Async('argon2id', {
    message,
    nonce: salt,
    parallelism: kdf.lanes,
    tagLength: keyBytes,
    memory: kdf.memoryKiB,
    passes: kdf.passes,
  });
}

async function secretBytes(secret: Secret): Promise<Uint8Array> {
  switch (secret.kind) {
    case 'passphrase':
      return Buffer.from(secret.text.normalize('NFC'));
    case 'keyfile':
      return secret.bytes;
    case 'recovery':
      return await recoveryKeyOf(secret.words);
  }
}
