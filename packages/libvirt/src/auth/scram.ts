/**
 * SCRAM (RFC 5802; with SHA-256, RFC 7677), the client's side without channel binding: the server never learns the password,
 * and has to prove that it knows what belongs to it.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { PrimaError, ProtocolError } from '@prima/base';
import type { Credentials, SaslExchange } from './sasl.ts';

/** A server may not make us work for less than RFC 7677 wants, nor for hours. */
const iterations = { least: 4096, most: 10_000_000 };
const derive = promisify(pbkdf2);

export type ScramHash = 'sha1' | 'sha256' | 'sha512';

/** Without channel binding: `n,,` in base64. */
const channelBinding = Buffer.from('n,,').toString('base64');

export class Scram implements SaslExchange {
  readonly #hash: ScramHash;
  readonly #credentials: Credentials;
  readonly #nonce: string;
  readonly #firstBare: string;
  #serverSignature: Buffer | undefined;
  #isDone = false;

  /** @param nonce for tests; 24 random bytes else */
  constructor(hash: ScramHash, credentials: Credentials, nonce = randomBytes(24).toString('base64')) {
    this.#hash = hash;
    this.#credentials = credentials;
    this.#nonce = nonce;
    const name = prepared(credentials.username).replaceAll('=', '=3D').replaceAll(',', '=2C');
    this.#firstBare = `n=${name},r=${nonce}`;
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  start(): Uint8Array {
    return Buffer.from(`n,,${this.#firstBare}`);
  }

  async step(received: Uint8Array): Promise<Uint8Array | undefined> {
    const message = Buffer.from(received).toString();
    if (this.#serverSignature) {
      this.#finish(message, this.#serverSignature);
      return undefined;
    }
    return await this.#prove(message);
  }

  async #prove(serverFirst: string): Promise<Uint8Array> {
    const { r: nonce = '', s: salt = '', i: count = '' } = attributes(serverFirst);
    const rounds = /^\d+$/.test(count) ? Number(count) : 0;
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length || salt === '') {
      throw new ProtocolError('SCRAM: the server does not answer what it was asked');
    }
    if (rounds < iterations.least || rounds > iterations.most) {
      throw new PrimaError(
        'refused',
        `SCRAM: the server wants ${count} rounds; ${iterations.least} to ${iterations.most} are sensible`,
      );
    }
    const password = prepared(this.#credentials.password);
    const length = createHash(this.#hash).digest().length;
    const salted = await derive(password, Buffer.from(salt, 'base64'), rounds, length, this.#hash);
    const withoutProof = `c=${channelBinding},r=${nonce}`;
    const authMessage = `${this.#firstBare},${serverFirst},${withoutProof}`;
    const clientKey = this.#hmac(salted, 'Client Key');
    const storedKey = createHash(this.#hash).update(clientKey).digest();
    const clientSignature = this.#hmac(storedKey, authMessage);
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (clientSignature[index] ?? 0)));
    this.#serverSignature = this.#hmac(this.#hmac(salted, 'Server Key'), authMessage);
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  #finish(serverFinal: string, expected: Buffer): void {
    const { v: verifier = '', e: error } = attributes(serverFinal);
    if (error !== undefined) {
      throw new PrimaError('permission', `the server does not accept the name and password (${error})`);
    }
    const signature = Buffer.from(verifier, 'base64');
    if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
      throw new PrimaError(
        'refused',
        'the server does not prove that it knows this password: it may not be the one that is meant',
      );
    }
    this.#isDone = true;
  }

  #hmac(key: Uint8Array, text: string): Buffer {
    return createHmac(this.#hash, key).update(text).digest();
  }
}

/** `a=b,c=d`; values may have `=` in them. */
function attributes(message: string): Partial<Record<string, string>> {
  const pairs = message.split(',').map((part) => [part.slice(0, 1), part.slice(2)] as const);
  return Object.fromEntries(pairs);
}

/** What of SASLprep (RFC 4013) names and passwords meet: odd spaces, invisible marks, compatibility forms, no controls. */
export function prepared(text: string): string {
  const mapped = text
    .replace(/[\p{Zs}\u200B]/gu, ' ')
    .replace(/\p{Default_Ignorable_Code_Point}/gu, '')
    .normalize('NFKC');
  if (/\p{Cc}/u.test(mapped) || !mapped.isWellFormed()) {
    throw new PrimaError(
      'usage',
      'a name or password has characters that SASL does not allow (control characters)',
    );
  }
  return mapped;
}
