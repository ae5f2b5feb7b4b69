/** Wrapping keys in keys: AES-256-GCM, the tag behind the ciphertext. */
import { createCipheriv, createDecipheriv } from 'node:crypto';

export const wrapTagBytes = 16;

export interface Wrapping {
  /** 32 bytes. */
  key: Uint8Array;
  /** 12 bytes; a key is never used twice with the same. */
  nonce: Uint8Array;
  /** What must be the same for the wrapped bytes to open. */
  context: string;
}

/** Ciphertext and tag, as hex. */
export function wrap(plain: Uint8Array, { key, nonce, context }: Wrapping): string {
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  cipher.setAAD(Buffer.from(context));
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('hex');
}

/** The plain bytes, or undefined when this is not their key, or they were changed: GCM cannot tell which. */
export function unwrap(hex: string, { key, nonce, context }: Wrapping): Buffer | undefined {
  const wrapped = Buffer.from(hex, 'hex');
  if (wrapped.length < wrapTagBytes) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, nonce);
  decipher.setAAD(Buffer.from(context));
  decipher.setAuthTag(wrapped.subarray(-wrapTagBytes));
  const plain = decipher.update(wrapped.subarray(0, -wrapTagBytes));
  try {
    decipher.final();
  } catch (error) {
    if (error instanceof Error && !('code' in error)) return undefined; // its tag does not match
    throw error;
  }
  return plain;
}
