/**
 * Reads a streamOptimized VMDK from its beginning to its end (VMware Virtual Disk Format 5.0, "Stream-Optimized
 * Compressed Sparse Extents"), without seeking: from a pipe, an HTTP body, a member of a tar. The markers alone lead
 * the way, so that every writer's form is read: tables behind the grains, in front, or nowhere; with a footer and an
 * end-of-stream marker or without; with anything behind the end.
 */
import { alignUp, assert, FormatError } from '@prima/base';
import { type HostedHeader, sectorBytes } from './hosted-header.ts';
import { StreamBytes, type StreamBytesOptions } from './stream-bytes.ts';
import { mostGrainData } from './stream-codec.ts';
import { readFront, type StreamFront, tableSizes } from './stream-front.ts';
import {
  grainMarkerBytes,
  markerHeadBytes,
  markerName,
  type MarkerType,
  markerType,
  parseMarker,
  type StreamMarker,
} from './stream-markers.ts';
import { GrainTables } from './stream-tables.ts';

/** A grain as it is in the stream. */
export interface PackedGrain {
  /** Where it lies on the disk, bytes. */
  offset: number;
  /** Where its marker lies in the stream, bytes. */
  at: number;
  /** zlib-framed. Valid until the next grain is asked for. */
  data: Uint8Array;
}

/**
 * Reads the stream up to its first grain. `grains` has to be used up, or `close` called.
 * Raises `format`, `cancelled`, and what the source raises.
 */
export async function openVmdkStream(
  source: AsyncIterable<Uint8Array>,
  options: StreamBytesOptions,
): Promise<VmdkStream> {
  const bytes = new StreamBytes(source, options);
  try {
    return new VmdkStream(bytes, await readFront(bytes));
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

/** Memory of `size` bytes for the data of the grain at `offset` of the disk. */
export type GrainPlace = (offset: number, size: number) => Uint8Array;

export class VmdkStream {
  readonly header: HostedHeader;
  /** Of the disk, bytes. */
  readonly size: number;
  readonly grainBytes: number;
  /** The embedded descriptor, not parsed; undefined where there is none. */
  readonly descriptor: Uint8Array | undefined;
  readonly #bytes: StreamBytes;
  readonly #grainsNamed: number | undefined;
  readonly #tables: GrainTables;
  #record: Uint8Array | undefined;
  #grains = 0;
  #lastLba = -1;
  /** Markers that are no grains: an endless stream of them is none. */
  #others = 0;
  #begun = false;

  constructor(bytes: StreamBytes, { header, descriptor, grainsNamed }: StreamFront) {
    this.header = header;
    this.size = header.capacity * sectorBytes;
    this.grainBytes = header.grainSize * sectorBytes;
    this.descriptor = descriptor;
    this.#bytes = bytes;
    this.#grainsNamed = grainsNamed;
    this.#tables = new GrainTables(bytes.name, header.numGTEsPerGT);
  }

  get name(): string {
    return this.#bytes.name;
  }

  /** Bytes of the disk that a grain at `offset` covers: the last one may be cut off by the disk's end. */
  coveredAt(offset: number): number {
    return Math.min(this.grainBytes, this.size - offset);
  }

  /**
   * The grains in ascending order, once; what is behind the end is not read. Closes the stream.
   * @param place gives the memory for a grain's data; default: the same for all, so that each is valid until the next
   */
  async *grains(place?: GrainPlace): AsyncGenerator<PackedGrain> {
    assert(!this.#begun, 'the grains of a stream are read once');
    this.#begun = true;
    const room = place ?? ((_offset, size) => this.#ownRoom(size));
    try {
      for (let next = await this.#next(room); next !== 'end'; next = await this.#next(room)) {
        if (next !== 'other') yield next;
      }
    } finally {
      await this.close();
    }
  }

  #ownRoom(size: number): Uint8Array {
    this.#record ??= new Uint8Array(mostGrainData(this.grainBytes));
    return this.#record.subarray(0, size);
  }

  /** May be called again. */
  async close(): Promise<void> {
    await this.#bytes.close();
  }

  async #next(room: GrainPlace): Promise<PackedGrain | 'other' | 'end'> {
    const at = this.#bytes.position;
    if (await this.#bytes.isAtEnd()) {
      this.#needAllGrains(true);
      return 'end';
    }
    const head = new Uint8Array(markerHeadBytes);
    await this.#bytes.readInto(head, 'a marker');
    const marker = parseMarker(head, at, this.name);
    if (marker.kind === 'grain') return await this.#readGrain(marker, { at, head, room });
    if (marker.type === markerType.endOfStream) {
      this.#needAllGrains(false);
      return 'end';
    }
    await this.#passOther(marker, at);
    return 'other';
  }

  async #readGrain(
    { lba, size }: Extract<StreamMarker, { kind: 'grain' }>,
    { at, head, room }: { at: number; head: Uint8Array; room: GrainPlace },
  ): Promise<PackedGrain> {
    this.#checkGrain(lba, size, at);
    const data = room(lba * sectorBytes, size);
    const early = head.subarray(grainMarkerBytes, grainMarkerBytes + size);
    data.set(early);
    const what = `the grain for sector ${lba}`;
    await this.#bytes.readInto(data.subarray(early.length), what);
    // the last grain of a file may lack its padding
    const end = alignUp(this.#bytes.position, sectorBytes);
    await this.#bytes.skipAtMost(end - this.#bytes.position);
    this.#lastLba = lba;
    this.#grains += 1;
    this.#tables.addGrain(lba / this.header.grainSize, at);
    return { offset: lba * sectorBytes, at, data };
  }

  #checkGrain(lba: number, size: number, at: number): void {
    const { grainSize, capacity } = this.header;
    if (lba % grainSize !== 0) throw this.#broken(`is for sector ${lba}, no multiple of ${grainSize}`, at);
    if (lba >= capacity) throw this.#broken(`is for sector ${lba} of a disk of ${capacity}`, at);
    if (lba === this.#lastLba) throw this.#broken(`is for sector ${lba}, as the one before it`, at);
    if (lba < this.#lastLba) {
      throw this.#broken(`is for sector ${lba}, behind the one for sector ${this.#lastLba}`, at);
    }
    const most = mostGrainData(this.grainBytes);
    if (size > most) throw this.#broken(`has ${size} bytes of data, where ${most} is the most`, at);
  }

  /** Tables, directory, footer, and what tells how far the stream is. */
  async #passOther({ type, sectors }: { type: MarkerType; sectors: number }, at: number): Promise<void> {
    const { tables, tableSectors, directorySectors } = tableSizes(this.header);
    const what = `its ${markerName(type)}`;
    const most = Math.max(tableSectors, directorySectors) + spareSectors;
    if (sectors > most) {
      throw this.#brokenAt(`${what} has ${sectors} sectors, where ${most} is the most`, at);
    }
    this.#others += 1;
    const mostOthers = 4 * tables + 2 * this.#grains + spareMarkers;
    if (this.#others > mostOthers) {
      throw this.#brokenAt(
        `the ${this.#others}th marker without a grain is too many for ${tables} tables`,
        at,
      );
    }
    await this.#bytes.skip(sectorBytes - markerHeadBytes, what);
    let left = sectors * sectorBytes;
    if (type === markerType.grainTable && sectors >= tableSectors) {
      const table = new Uint8Array(tableSectors * sectorBytes);
      const tableAt = this.#bytes.position;
      await this.#bytes.readInto(table, what);
      this.#tables.check(table, tableAt);
      left -= table.length;
    }
    await this.#bytes.skip(left, what);
  }

  /** At the end: nothing shows that more was to come. */
  #needAllGrains(isBare: boolean): void {
    const named = this.#grainsNamed;
    const found = `${this.name} ends after ${this.#grains} grains`;
    const advice = 'it was not copied or written to its end';
    if (named !== undefined && this.#grains < named) {
      throw new FormatError(`${found}, where its tables name ${named}; ${advice}`);
    }
    if (isBare && named === undefined) {
      throw new FormatError(
        `${found}, in the middle of its markers: the one that ends the stream is missing; ${advice}`,
      );
    }
  }

  #broken(what: string, at: number): FormatError {
    return this.#brokenAt(`the grain ${what}`, at);
  }

  #brokenAt(what: string, at: number): FormatError {
    return new FormatError(`${this.name}: at byte ${at} ${what}; the file is damaged`, {
      details: { offset: at },
    });
  }
}

/** What a writer may put behind a marker, and markers it may write, beyond what is needed. */
const spareSectors = 128;
const spareMarkers = 1024;
