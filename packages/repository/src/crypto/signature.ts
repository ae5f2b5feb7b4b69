/** Signed records (docs/format/repository.md, "Signed records"): Ed25519, RFC 8032, with raw 32-byte keys. */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from 'node:crypto';
import { IntegrityError } from '@prima/base';

/** What a signature covers besides the record: a record under another name or repository does not verify. */
export interface RecordScope {
  repositoryId: string;
  /** The key of the object that holds the record. */
  objectKey: string;
}

// RFC 8410: what stands before the 32 bytes of a key in DER
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex');

const member = /,"signature":"([0-9a-f]{128})"\}$/;

/** Signs records with one private key. */
export class RecordSigner {
  readonly #key: KeyObject;
  /** 32 bytes, hex. */
  readonly publicKey: string;

  /** @param seed 32 bytes */
  constructor(seed: Uint8Array) {
    this.#key = createPrivateKey({
      key: Buffer.concat([privatePrefix, seed]),
      format: 'der',
      type: 'pkcs8',
    });
    const spki = createPublicKey(this.#key).export({ format: 'der', type: 'spki' });
    this.publicKey = spki.subarray(publicPrefix.length).toString('hex');
  }

  /** The record as JSON with its signature as the last member. `record` has at least one member. */
  write(record: object, scope: RecordScope): string {
    const text = JSON.stringify(record);
    const signature = sign(null, signedBytes(text, scope), this.#key).toString('hex');
    return `${text.slice(0, -1)},"signature":"${signature}"}`;
  }
}

/** A new private key: 32 bytes. */
export function newSeed(): Buffer {
  return randomBytes(32);
}

/** Which of `signers` (public keys, 64 hex digits) signed the record, or undefined when none did. */
export function signerOf(text: string, scope: RecordScope, signers: readonly string[]): string | undefined {
  const { bytes, signature } = signedParts(text, scope) ?? {};
  if (!bytes || !signature) return undefined;
  return signers.findLast((signer) => verify(null, bytes, publicKeyOf(signer), signature));
}

function signedParts(text: string, scope: RecordScope): { bytes: Buffer; signature: Buffer } | undefined {
  const [whole, hex] = member.exec(text.slice(-144)) ?? [];
  if (whole === undefined || hex === undefined) return undefined;
  const bytes = signedBytes(`${text.slice(0, -whole.length)}}`, scope);
  return { bytes, signature: Buffer.from(hex, 'hex') };
}

/** Raises `integrity` unless one of `signers` signed the record. */
export function verifyRecord(text: string, scope: RecordScope, signers: readonly string[]): void {
  if (signerOf(text, scope, signers) === undefined) throw unsigned(scope);
}

const verifyAside = (bytes: Buffer, key: KeyObject, signature: Buffer) =>
  new Promise<boolean>((resolve, reject) =>
    verify(null, bytes, key, signature, (error, isRight) => (error ? reject(error) : resolve(isRight))),
  );

/** `verifyRecord` on a thread of Node's pool, for who reads many: of each it is what takes longest. */
export async function verifyRecordAside(
  text: string,
  scope: RecordScope,
  signers: readonly string[],
): Promise<void> {
  const { bytes, signature } = signedParts(text, scope) ?? {};
  if (bytes && signature) {
    for (const signer of signers.toReversed()) {
      if (await verifyAside(bytes, publicKeyOf(signer), signature)) return;
    }
  }
  throw unsigned(scope);
}

function unsigned({ objectKey }: RecordScope): IntegrityError {
  return new IntegrityError(
    `${objectKey} was not signed by a writer of this repository: it was changed, or forged`,
  );
}

const publicKeys = new Map<string, KeyObject>();

function publicKeyOf(signer: string): KeyObject {
  let key = publicKeys.get(signer);
  if (!key) {
    const der = Buffer.concat([publicPrefix, Buffer.from(signer, 'hex')]);
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    if (publicKeys.size >= 64) publicKeys.clear();
    publicKeys.set(signer, key);
  }
  return key;
}

function signedBytes(text: string, { repositoryId, objectKey }: RecordScope): Buffer {
  return Buffer.from(`prima-signed:1:${repositoryId}:${objectKey}:${text}`);
}
