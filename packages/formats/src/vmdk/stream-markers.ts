/**
 * The markers of a streamOptimized VMDK, which let it be read from its beginning to its end (VMware Virtual Disk
 * Format 5.0, "Stream-Optimized Compressed Sparse Extents"). A marker begins on a sector, little-endian:
 *
 *   grain      0 lba u64 (sectors)   8 size u32, not 0   12 data (zlib, RFC 1950), padded to whole sectors
 *   others     0 numSectors u64      8 size u32 = 0      12 type u32      16 pad to 512
 *              then numSectors sectors of what the type says
 *
 *   type 0 end of stream   1 grain table   2 grain directory   3 footer (a copy of the header)   4 progress
 */
import { alignUp, assert, FormatError } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';

/** What a marker begins with, as far as it is needed to know which one it is: bytes. */
export const grainMarkerBytes = 12;
export const markerHeadBytes = 16;

export const markerType = {
  endOfStream: 0,
  grainTable: 1,
  grainDirectory: 2,
  footer: 3,
  progress: 4,
} as const;

export type MarkerType = (typeof markerType)[keyof typeof markerType];

export type StreamMarker =
  /** Where the grain lies on the disk, in sectors, and how many bytes of data follow. */
  | { kind: 'grain'; lba: number; size: number }
  /** How many sectors follow the marker's own. */
  | { kind: 'other'; type: MarkerType; sectors: number };

const typeNames: Record<MarkerType, string> = {
  0: 'end of stream',
  1: 'grain table',
  2: 'grain directory',
  3: 'footer',
  4: 'progress marker',
};

export function markerName(type: MarkerType): string {
  return typeNames[type];
}

/**
 * @param head the marker's first 16 bytes
 * @param at where it lies in the stream, bytes, and `name` of the stream: for messages
 */
export function parseMarker(head: Uint8Array, at: number, name: string): StreamMarker {
  const broken = (what: string) =>
    new FormatError(`${name}: at byte ${at} is ${what}; the file is damaged`, { details: { offset: at } });
  assert(head.length >= markerHeadBytes, `a marker's ${markerHeadBytes} bytes are there`);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const value = view.getBigUint64(0, true);
  const size = view.getUint32(8, true);
  const type = view.getUint32(12, true);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    const what = size === 0 ? 'a marker of sectors' : 'a grain for sector';
    throw broken(`${what} ${value}, which is too large`);
  }
  if (size !== 0) return { kind: 'grain', lba: Number(value), size };
  if (!isMarkerType(type)) throw broken(`a marker of type ${type} where 0 to 4 are known`);
  return { kind: 'other', type, sectors: Number(value) };
}

function isMarkerType(type: number): type is MarkerType {
  return type in typeNames;
}

/** One sector. */
export function writeMarker(type: MarkerType, sectors: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(sectorBytes);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(sectors), true);
  view.setUint32(12, type, true);
  return bytes;
}

/** What a grain with `size` bytes of data takes in the stream, bytes. */
export function grainRecordBytes(size: number): number {
  return alignUp(grainMarkerBytes + size, sectorBytes);
}

/** The record of one grain; the padding of `into`, which has `grainRecordBytes(data.length)`, is cleared. */
export function writeGrain(into: Uint8Array, lba: number, data: Uint8Array): void {
  assert(into.length === grainRecordBytes(data.length), `a grain's record has ${into.length} bytes`);
  const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
  view.setBigUint64(0, BigInt(lba), true);
  view.setUint32(8, data.length, true);
  into.set(data, grainMarkerBytes);
  into.fill(0, grainMarkerBytes + data.length);
}
