/** Index segments: docs/format/repository.md, "Index segment". */
import { IntegrityError } from '@prima/base';
import { checkMagic } from './blob.ts';
import type { PackKind } from './pack.ts';

const magic = 0x31584950; // "PIX1"
const headerBytes = 16;
const packBytes = 40;
const entryBytes = 44;
/** Entries a segment holds at most: about 2.9 MB. */
export const segmentEntries = 65_536;

export interface SegmentPack {
  /** 64 hex digits. */
  name: string;
  kind: PackKind;
  size: number;
}

/** Entries as parallel views: `ids` has 32 bytes an entry. */
export interface Segment {
  packs: SegmentPack[];
  count: number;
  ids: Uint8Array;
  /** Number of the pack in `packs`, offset and length of the blob in it: three words an entry. */
  places: Uint32Array;
}

export interface SegmentEntry {
  id: Uint8Array;
  pack: number;
  offset: number;
  length: number;
}

export function writeSegment(packs: readonly SegmentPack[], entries: readonly SegmentEntry[]): Uint8Array {
  const sorted = entries.toSorted((a, b) => Buffer.compare(a.id, b.id));
  const bytes = Buffer.alloc(headerBytes + packs.length * packBytes + entries.length * entryBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(packs.length, 4);
  bytes.writeUInt32LE(entries.length, 8);
  let at = headerBytes;
  for (const pack of packs) {
    bytes.write(pack.name, at, 'hex');
    bytes.writeUInt32LE(pack.size, at + 32);
    bytes.writeUInt8(pack.kind === 'data' ? 1 : 2, at + 36);
    at += packBytes;
  }
  for (const entry of sorted) {
    bytes.set(entry.id, at);
    bytes.writeUInt32LE(entry.pack, at + 32);
    bytes.writeUInt32LE(entry.offset, at + 36);
    bytes.writeUInt32LE(entry.length, at + 40);
    at += entryBytes;
  }
  return bytes;
}

export function parseSegment(bytes: Uint8Array, where: string): Segment {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < headerBytes) throw new IntegrityError(`${where}: an index segment is cut short`);
  checkMagic(view.readUInt32LE(0), magic, where);
  const packCount = view.readUInt32LE(4);
  const count = view.readUInt32LE(8);
  if (count > segmentEntries || headerBytes + packCount * packBytes + count * entryBytes !== view.length) {
    throw new IntegrityError(
      `${where}: ${packCount} packs and ${count} entries do not fill ${view.length} bytes`,
    );
  }
  const packs: SegmentPack[] = [];
  let at = headerBytes;
  for (let i = 0; i < packCount; i += 1, at += packBytes) {
    const kind = view.readUInt8(at + 36) === 1 ? 'data' : 'meta';
    packs.push({ name: view.toString('hex', at, at + 32), size: view.readUInt32LE(at + 32), kind });
  }
  const ids = new Uint8Array(count * 32);
  const places = new Uint32Array(count * 3);
  for (let i = 0; i < count; i += 1, at += entryBytes) {
    ids.set(view.subarray(at, at + 32), i * 32);
    const pack = view.readUInt32LE(at + 32);
    if (pack >= packCount)
      throw new IntegrityError(`${where}: entry ${i} names pack ${pack} of ${packCount}`);
    places[i * 3] = pack;
    places[i * 3 + 1] = view.readUInt32LE(at + 36);
    places[i * 3 + 2] = view.readUInt32LE(at + 40);
  }
  return { packs, count, ids, places };
}
