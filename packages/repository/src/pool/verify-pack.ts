/** Verifies a whole pack: its name, its directory, and that each blob in it opens. Pure. */
import { createHash } from 'node:crypto';
import { PrimaError } from '@prima/base';
import type { Opener } from '../crypto/sealer.ts';
import { packTrailerBytes, parsePackDirectory, parsePackTrailer } from '../format/pack.ts';

/** What is wrong with the pack, or undefined. */
export function verifyPack(
  opener: Opener,
  pack: Uint8Array,
  { name, where }: { name: string; where: string },
): string | undefined {
  if (createHash('sha256').update(pack).digest('hex') !== name) return `${where} is not what its name says`;
  try {
    const trailer = parsePackTrailer(pack.subarray(-packTrailerBytes), pack.length, where);
    const directory = pack.subarray(trailer.offset, trailer.offset + trailer.length);
    for (const { id, type, offset, length } of parsePackDirectory(directory, trailer, where)) {
      opener.open(pack.subarray(offset, offset + length), { type, id }, `${where} at ${offset}`);
    }
  } catch (error) {
    if (!(error instanceof PrimaError)) throw error;
    return error.message;
  }
  return undefined;
}
