/** Secrets at rest: AES-256-GCM under a key that lies beside the state, in a file of its own, mode 0600. */
import { createCipheriv, createDecipheriv, createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createFile, PrimaError, systemErrorCode, toPrimaError } from '@prima/base';

const version = 'v1';
const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

export class Sealer {
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** @param about what it is and whose: it opens as nothing else */
  seal(text: string, about: string): string {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(about));
    const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return `${version}.${sealed.toString('base64url')}`;
  }

  /** Raises `wrong-key` for what was sealed with another key, or as something else. */
  open(sealed: string, about: string): string {
    try {
      const [found, body = ''] = sealed.split('.');
      if (found !== version) throw new Error(`of version ${found}`);
      const bytes = Buffer.from(body, 'base64url');
      const cipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, nonceBytes))
        .setAAD(Buffer.from(about))
        .setAuthTag(bytes.subarray(-tagBytes));
      const text = cipher.update(bytes.subarray(nonceBytes, -tagBytes));
      return Buffer.concat([text, cipher.final()]).toString('utf8');
    } catch (error) {
      throw new PrimaError(
        'wrong-key',
        `a stored secret (${about.split(' ')[0]}) does not open with this server's key`,
        {
          cause: error,
        },
      );
    }
  }
}

/** The key in the file, which is made at the first start. Raises `format`, `io`, `permission`. */
export async function openSealer(path: string): Promise<Sealer> {
  for (const isLast of [false, true]) {
    try {
      const key = Buffer.from((await readFile(path, 'latin1')).trim(), 'hex');
      if (key.length === keyBytes) return new Sealer(key);
      throw new PrimaError(
        'format',
        `${path} is not a key: 64 hex digits were wanted; restore it from a backup`,
      );
    } catch (error) {
      if (isLast || systemErrorCode(error) !== 'ENOENT')
        throw toPrimaError(error, "reading the server's key");
    }
    await createFile(path, Buffer.from(`${randomBytes(keyBytes).toString('hex')}\n`)); // the first one there stays
  }
  throw new PrimaError('io', `${path} cannot be made`);
}

/** A secret for cookies, links and tokens, and what is kept of it. */
export function newSecret(): { secret: string; hash: string } {
  const secret = randomBytes(32).toString('base64url');
  return { secret, hash: hashOf(secret) };
}

/** Of a random secret of 256 bits: nothing slower is needed. */
export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

export function isSame(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(hashOf(a)), Buffer.from(hashOf(b))];
  return timingSafeEqual(left, right);
}
