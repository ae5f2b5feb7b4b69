/** Lays sealed blobs one after the other into a pack and names it. */
import { createHash } from 'node:crypto';
import { assert } from '@prima/base';
import type { Sealer } from '../crypto/sealer.ts';
import { type BlobType, blobOverheadBytes } from './blob.ts';
import { type PackEntry, packEntryBytes, packHeader, packTrailerBytes, writePackEnd } from './pack.ts';

/** Blobs a pack holds at most, so that its directory stays small. */
const maxEntries = 8192;

/** Room that a buffer needs for a pack of about `packBytes` whose blobs have up to `plainBytes` each. */
export function packBufferBytes(packBytes: number, plainBytes: number): number {
  return packBytes + plainBytes + blobOverheadBytes + maxEntries * packEntryBytes + packTrailerBytes;
}

/** What the packs take together that blobs of these lengths fill, in this order; each pack begins with `first` bytes of its own blob. */
export function packedBytes(lengths: Iterable<number>, limit: number, first: number): number {
  let total = 0;
  let position = 0;
  let entries = 0;
  const close = () => {
    if (entries > 0) total += position + entries * packEntryBytes + packTrailerBytes;
  };
  for (const length of lengths) {
    if (entries === 0 || position >= limit || entries >= maxEntries) {
      close();
      position = packHeader.length + first;
      entries = first > 0 ? 1 : 0;
    }
    position += length;
    entries += 1;
  }
  close();
  return total;
}

export interface FinishedPack {
  /** SHA-256 of the bytes, 64 hex digits. */
  name: string;
  size: number;
  entries: PackEntry[];
}

interface NewBlob {
  type: BlobType;
  id: Uint8Array;
  plain: Uint8Array;
}

export class PackBuilder {
  readonly #buffer: Uint8Array;
  readonly #limit: number;
  readonly #hash = createHash('sha256');
  readonly #entries: PackEntry[] = [];
  #position: number;

  /** @param limit bytes at which the pack counts as full */
  constructor(buffer: Uint8Array, limit: number) {
    this.#buffer = buffer;
    this.#limit = limit;
    buffer.set(packHeader, 0);
    this.#hash.update(packHeader);
    this.#position = packHeader.length;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  get isFull(): boolean {
    return this.#position >= this.#limit || this.#entries.length >= maxEntries;
  }

  /**
   * Seals `blob` at the end of the pack; returns it sealed, a view into the pack's buffer.
   * @param inspect is shown it before it belongs to the pack; when it raises, it does not
   */
  add(blob: NewBlob, sealer: Sealer, inspect?: (sealed: Uint8Array) => void): Uint8Array {
    const { type, id, plain } = blob;
    const offset = this.#position;
    const length = sealer.seal({ type, id, plain }, this.#buffer, offset);
    inspect?.(this.#buffer.subarray(offset, offset + length));
    return this.#append({ id, offset, length, plainLength: plain.length, type });
  }

  /** Copies a blob that is sealed already. */
  copy(entry: Omit<PackEntry, 'offset' | 'length'>, blob: Uint8Array): Uint8Array {
    const offset = this.#position;
    this.#buffer.set(blob, offset);
    return this.#append({ ...entry, offset, length: blob.length });
  }

  /** Writes the directory; nothing can be added afterwards. */
  finish(): FinishedPack {
    const end = writePackEnd(this.#entries, this.#position);
    this.#buffer.set(end, this.#position);
    const name = this.#hash.update(end).digest('hex');
    return { name, size: this.#position + end.length, entries: this.#entries };
  }

  #append(entry: PackEntry): Uint8Array {
    assert(!this.isFull, 'a pack is not added to when it is full');
    const blob = this.#buffer.subarray(entry.offset, entry.offset + entry.length);
    this.#hash.update(blob);
    this.#entries.push({ ...entry, id: Uint8Array.from(entry.id) });
    this.#position += entry.length;
    return blob;
  }
}
