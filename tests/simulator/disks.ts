/** Disks of a few chunks, each described by a number: 0 is zeros, equal numbers are equal bytes. */
import { KiB, type Range, seededRandom } from '@prima/base';
import type { BlockDevice } from '@prima/block';

export const chunkSize = 256 * KiB;
/** Bytes of a chunk that do not compress; the rest is zeros. */
const noiseBytes = 6 * KiB;

export type DiskContent = readonly number[];

const noise = new Map<number, Uint8Array>();

function noiseOf(value: number): Uint8Array {
  let bytes = noise.get(value);
  if (!bytes) noise.set(value, (bytes = seededRandom(value).bytes(new Uint8Array(noiseBytes))));
  return bytes;
}

/** A chunk is read whole: repositories read no other way here. */
export function diskOf(content: DiskContent): BlockDevice {
  const size = content.length * chunkSize;
  return {
    size,
    blockSize: chunkSize,
    extents: async function* (range: Range) {
      yield { ...range, kind: 'data' as const };
    },
    read: async (offset, into) => {
      for (let at = 0; at < into.length; at += chunkSize) {
        const value = content[(offset + at) / chunkSize] ?? 0;
        const part = into.subarray(at, at + chunkSize).fill(0);
        if (value !== 0) part.set(noiseOf(value));
      }
    },
    close: async () => undefined,
  };
}

/** Whether the bytes are the disk's; one number for each chunk that is not. */
export function differingChunks(content: DiskContent, bytes: Uint8Array): number[] {
  const rest = Buffer.alloc(chunkSize - noiseBytes);
  return content.flatMap((value, chunk) => {
    const start = chunk * chunkSize;
    const head = bytes.subarray(start, start + noiseBytes);
    const wanted = value === 0 ? rest.subarray(0, noiseBytes) : noiseOf(value);
    const tail = bytes.subarray(start + noiseBytes, start + chunkSize);
    const isSame = Buffer.compare(head, wanted) === 0 && Buffer.compare(tail, rest) === 0;
    return isSame ? [] : [chunk];
  });
}
