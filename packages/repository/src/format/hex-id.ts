/** Ids as text. */
import { assert, FormatError } from '@prima/base';

/** 64 hex digits → 32 bytes. */
export function idFromHex(hex: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(hex)) throw new FormatError(`"${hex}" is not an id of 64 hex digits`);
  return Buffer.from(hex, 'hex');
}

export function hexOf(id: Uint8Array): string {
  assert(id.length === 32, 'an id has 32 bytes');
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex');
}
