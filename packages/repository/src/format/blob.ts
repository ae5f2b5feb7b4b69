/**
 * Blob header: docs/format/repository.md, "Blob".
 *
 * | Offset | Size | Field |
 * |---|---|---|
 * | 0 | 4 | magic `PBL1` |
 * | 4 | 1 | type |
 * | 5 | 1 | id algorithm |
 * | 6 | 1 | compression |
 * | 7 | 1 | cipher |
 * | 8 | 4 | key epoch |
 * | 12 | 4 | reserved, 0 |
 * | 16 | 32 | id |
 * | 48 | 16 | writer salt |
 * | 64 | 8 | counter |
 * | 72 | 4 | plain length |
 * | 76 | 4 | ciphertext length |
 */
import { IntegrityError, MiB, PrimaError } from '@prima/base';

export const blobHeaderBytes = 80;
export const blobTagBytes = 16;
/** What a blob adds to its ciphertext. */
export const blobOverheadBytes = blobHeaderBytes + blobTagBytes;

const magic = 0x314c4250; // "PBL1"

export const blobType = {
  chunk: 1,
  page: 2,
  file: 3,
  segment: 4,
  marker: 5,
  outcome: 6,
  condemned: 7,
  logEntry: 8,
  forgotten: 9,
  damaged: 10,
  ledger: 11,
  lock: 12,
} as const;
export type BlobType = (typeof blobType)[keyof typeof blobType];

export const compression = { none: 0, zstd: 1 } as const;

export interface BlobHeader {
  type: BlobType;
  compression: number;
  epoch: number;
  /** 32 bytes. */
  id: Uint8Array;
  /** 16 bytes. */
  salt: Uint8Array;
  counter: number;
  plainLength: number;
  cipherLength: number;
}

/** The largest plain length that a reader accepts for a type. */
function plainLimit(type: BlobType): number {
  return type === blobType.segment || type === blobType.condemned ? 64 * MiB : 16 * MiB;
}

/** Writes the header into the first 80 bytes of `into`. */
export function writeBlobHeader(header: BlobHeader, into: Uint8Array): void {
  const view = new DataView(into.buffer, into.byteOffset, blobHeaderBytes);
  view.setUint32(0, magic, true);
  view.setUint8(4, header.type);
  view.setUint8(5, 1);
  view.setUint8(6, header.compression);
  view.setUint8(7, 1);
  view.setUint32(8, header.epoch, true);
  view.setUint32(12, 0, true);
  into.set(header.id, 16);
  into.set(header.salt, 48);
  view.setBigUint64(64, BigInt(header.counter), true);
  view.setUint32(72, header.plainLength, true);
  view.setUint32(76, header.cipherLength, true);
}

/**
 * Parses and bounds a header. `available` is the length of the whole blob.
 * @param where names the object and offset in errors
 */
export function parseBlobHeader(bytes: Uint8Array, where: string): BlobHeader {
  if (bytes.length < blobOverheadBytes) {
    throw new IntegrityError(`${where}: a blob of ${bytes.length} bytes is cut short`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, blobHeaderBytes);
  checkMagic(view.getUint32(0, true), magic, where);
  const type = view.getUint8(4) as BlobType;
  const header: BlobHeader = {
    type,
    compression: view.getUint8(6),
    epoch: view.getUint32(8, true),
    id: bytes.subarray(16, 48),
    salt: bytes.subarray(48, 64),
    counter: Number(view.getBigUint64(64, true)),
    plainLength: view.getUint32(72, true),
    cipherLength: view.getUint32(76, true),
  };
  const known =
    type >= blobType.chunk &&
    type <= blobType.lock &&
    view.getUint8(5) === 1 &&
    header.compression <= compression.zstd &&
    view.getUint8(7) === 1 &&
    view.getUint32(12, true) === 0;
  if (!known) throw new IntegrityError(`${where}: the blob header has unknown algorithms or types`);
  const fits =
    header.plainLength <= plainLimit(type) &&
    header.cipherLength <= header.plainLength &&
    header.cipherLength + blobOverheadBytes === bytes.length &&
    Number.isSafeInteger(header.counter) &&
    (header.compression === compression.zstd || header.cipherLength === header.plainLength);
  if (!fits) {
    const { plainLength, cipherLength } = header;
    throw new IntegrityError(
      `${where}: the blob's lengths do not fit (plain ${plainLength}, cipher ${cipherLength}, stored ${bytes.length})`,
    );
  }
  return header;
}

/** Tells a newer version (last digit of the magic) from damage. */
export function checkMagic(found: number, wanted: number, where: string): void {
  if (found === wanted) return;
  const newer =
    (found & 0xffffff) === (wanted & 0xffffff) && found >>> 24 > wanted >>> 24 && found >>> 24 <= 0x39;
  if (newer) {
    throw new PrimaError(
      'newer-version',
      `${where} was written by a newer version of Prima; update Prima to read it`,
    );
  }
  throw new IntegrityError(`${where}: found magic ${found.toString(16)}, wanted ${wanted.toString(16)}`);
}
