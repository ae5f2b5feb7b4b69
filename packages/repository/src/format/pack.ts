/** Packs: docs/format/repository.md, "Pack". */
import { IntegrityError, MiB } from '@prima/base';
import { createHash } from 'node:crypto';
import { type BlobType, blobOverheadBytes, checkMagic } from './blob.ts';

export const packHeader = Buffer.from('PRIMAPK1', 'latin1');
export const packEntryBytes = 48;
export const packTrailerBytes = 32;
const trailerMagic = 0x31454b50; // "PKE1"
const maxPackBytes = 96 * MiB;

export type PackKind = 'data' | 'meta';

export interface PackEntry {
  /** 32 bytes. */
  id: Uint8Array;
  /** Of the blob's header, from the start of the pack. */
  offset: number;
  /** Of the whole blob, with header and tag. */
  length: number;
  plainLength: number;
  type: BlobType;
}

/** The directory and trailer that end a pack whose blobs end at `directoryOffset`. */
export function writePackEnd(entries: readonly PackEntry[], directoryOffset: number): Uint8Array {
  const bytes = Buffer.alloc(entries.length * packEntryBytes + packTrailerBytes);
  for (const [index, entry] of entries.entries()) {
    const at = index * packEntryBytes;
    bytes.set(entry.id, at);
    bytes.writeUInt32LE(entry.offset, at + 32);
    bytes.writeUInt32LE(entry.length, at + 36);
    bytes.writeUInt32LE(entry.plainLength, at + 40);
    bytes.writeUInt8(entry.type, at + 44);
  }
  const trailer = bytes.length - packTrailerBytes;
  bytes.writeUInt32LE(trailerMagic, trailer);
  bytes.writeUInt32LE(entries.length, trailer + 4);
  bytes.writeUInt32LE(directoryOffset, trailer + 8);
  const sum = createHash('sha256').update(bytes.subarray(0, trailer)).digest();
  bytes.set(sum.subarray(0, 20), trailer + 12);
  return bytes;
}

/** Where the directory of a pack of `packBytes` lies, from its last 32 bytes. */
export function parsePackTrailer(
  trailer: Uint8Array,
  packBytes: number,
  where: string,
): { count: number; offset: number; length: number; sum: Uint8Array } {
  const view = Buffer.from(trailer.buffer, trailer.byteOffset, trailer.byteLength);
  if (view.length !== packTrailerBytes || packBytes > maxPackBytes) {
    throw new IntegrityError(`${where}: a pack of ${packBytes} bytes cannot be`);
  }
  checkMagic(view.readUInt32LE(0), trailerMagic, where);
  const count = view.readUInt32LE(4);
  const offset = view.readUInt32LE(8);
  const length = count * packEntryBytes;
  if (offset < packHeader.length || offset + length + packTrailerBytes !== packBytes) {
    throw new IntegrityError(`${where}: the directory (${count} entries at ${offset}) does not end the pack`);
  }
  return { count, offset, length, sum: view.subarray(12, 32) };
}

/** Parses a directory that `parsePackTrailer` located, and checks its sum and that blobs fill the pack. */
export function parsePackDirectory(
  bytes: Uint8Array,
  trailer: { count: number; offset: number; sum: Uint8Array },
  where: string,
): PackEntry[] {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const sum = createHash('sha256').update(view).digest().subarray(0, 20);
  if (!sum.equals(trailer.sum)) throw new IntegrityError(`${where}: the directory's checksum does not match`);
  const entries: PackEntry[] = [];
  let position = packHeader.length;
  for (let index = 0; index < trailer.count; index += 1) {
    const at = index * packEntryBytes;
    const entry: PackEntry = {
      id: view.subarray(at, at + 32),
      offset: view.readUInt32LE(at + 32),
      length: view.readUInt32LE(at + 36),
      plainLength: view.readUInt32LE(at + 40),
      type: view.readUInt8(at + 44) as BlobType,
    };
    if (entry.offset !== position || entry.length < blobOverheadBytes) {
      throw new IntegrityError(`${where}: entry ${index} of the directory is not where the one before ends`);
    }
    position += entry.length;
    entries.push(entry);
  }
  if (position !== trailer.offset)
    throw new IntegrityError(`${where}: blobs end at ${position}, not at the directory`);
  return entries;
}

/** The key under which a pack is stored. `name` is 64 hex digits. */
export function packKey(kind: PackKind, name: string): string {
  return `packs/${kind}/${name.slice(0, 2)}/${name}`;
}

/** The opposite of `packKey`; undefined for what is not a pack. */
export function parsePackKey(key: string): { kind: PackKind; name: string } | undefined {
  const match = /^packs\/(data|meta)\/[0-9a-f]{2}\/([0-9a-f]{64})$/.exec(key);
  return match ? { kind: match[1] as PackKind, name: match[2] ?? '' } : undefined;
}
