/** Verifies a whole pack: its name, its directory, and that each blob in it opens. Pure. */
import { createHash } from 'node:crypto';
import { MiB, PrimaError } from '@prima/base';
import type { Opener } from '../crypto/sealer.ts';
import { blobType } from '../format/blob.ts';
import { packTrailerBytes, parsePackDirectory, parsePackTrailer } from '../format/pack.ts';

/** What a chunk has at most: those of a pack are opened into the same memory. */
const largestChunk = 4 * MiB;

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
    let memory = new Uint8Array(0);
    for (const { id, type, offset, length, plainLength } of parsePackDirectory(directory, trailer, where)) {
      const isChunk = type === blobType.chunk && plainLength <= largestChunk;
      if (isChunk && memory.length < plainLength) memory = new Uint8Array(plainLength);
      const into = isChunk ? { into: memory.subarray(0, plainLength) } : {};
      opener.open(pack.subarray(offset, offset + length), { type, id, ...into }, `${where} at ${offset}`);
    }
  } catch (error) {
    if (!(error instanceof PrimaError)) throw error;
    return error.message;
  }
  return undefined;
}
