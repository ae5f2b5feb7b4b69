/** Pages of the manifest: docs/format/repository.md, "Pages". */
import { IntegrityError } from '@prima/base';
import { checkMagic } from './blob.ts';

/** References a page holds at most. */
export const pageFanout = 128;
const headerBytes = 16;
const refBytes = 48;
const magic = 0x31475050; // "PPG1"

/** A reference to a chunk or a page; `id` undefined means that everything below it is zeros. */
export interface PageRef {
  id: Uint8Array | undefined;
  /** Bytes of the disk that it covers. */
  length: number;
}

export interface Page {
  level: number;
  refs: PageRef[];
}

export function writePage(page: Page): Uint8Array {
  const bytes = Buffer.alloc(headerBytes + page.refs.length * refBytes);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt8(page.level, 4);
  bytes.writeUInt16LE(page.refs.length, 6);
  for (const [index, ref] of page.refs.entries()) {
    const at = headerBytes + index * refBytes;
    if (ref.id) bytes.set(ref.id, at);
    bytes.writeBigUInt64LE(BigInt(ref.length), at + 32);
    bytes.writeUInt8(ref.id ? 0 : 1, at + 40);
  }
  return bytes;
}

/**
 * Parses a page and checks it against what its place demands.
 * @param expected the level and the bytes that the parent (or the disk's size) says it covers
 */
export function parsePage(
  bytes: Uint8Array,
  expected: { level: number; length: number; chunkSize: number },
  where: string,
): Page {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < headerBytes)
    throw new IntegrityError(`${where}: a page of ${view.length} bytes is cut short`);
  checkMagic(view.readUInt32LE(0), magic, where);
  const level = view.readUInt8(4);
  const count = view.readUInt16LE(6);
  const fits = level === expected.level && count >= 1 && count <= pageFanout;
  if (!fits || view.length !== headerBytes + count * refBytes) {
    throw new IntegrityError(
      `${where}: a page of level ${level} with ${count} references does not belong here`,
    );
  }
  const span = childSpan(level, expected.chunkSize);
  const refs: PageRef[] = [];
  let left = expected.length;
  for (let index = 0; index < count; index += 1) {
    const at = headerBytes + index * refBytes;
    const length = Number(view.readBigUInt64LE(at + 32));
    if (length !== Math.min(span, left)) {
      throw new IntegrityError(
        `${where}: reference ${index} covers ${length} bytes, wanted ${Math.min(span, left)}`,
      );
    }
    left -= length;
    refs.push({ id: view.readUInt8(at + 40) & 1 ? undefined : view.subarray(at, at + 32), length });
  }
  if (left !== 0) throw new IntegrityError(`${where}: the page leaves ${left} bytes of its range uncovered`);
  return { level, refs };
}

/** Bytes of the disk that one reference in a page of this level covers. */
export function childSpan(level: number, chunkSize: number): number {
  return chunkSize * pageFanout ** level;
}

/** The level of the root page of a disk: the lowest that covers it. */
export function rootLevel(size: number, chunkSize: number): number {
  let level = 0;
  while (childSpan(level, chunkSize) * pageFanout < size) level += 1;
  return level;
}
