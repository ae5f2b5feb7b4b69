/**
 * Writes a streamOptimized VMDK from its beginning to its end (VMware Virtual Disk Format 5.0, "Stream-Optimized
 * Compressed Sparse Extents"), without seeking, so that it can go into a pipe, an HTTP body or a tar:
 *
 *   sector 0    header, gdOffset all ones: the footer tells
 *          1    descriptor, 20 sectors
 *        128    grains in ascending order, each behind its marker; those of zeros are left away
 *               behind the grains of each 32 MiB of disk that have any: marker and grain table
 *               marker and grain directory
 *               marker and footer: the header with its gdOffset
 *               end-of-stream marker
 *
 * A grain table's entries are the sectors of markers, the directory's those of the tables themselves.
 */
import {
  alignDown,
  alignUp,
  assert,
  inOrder,
  MiB,
  PrimaError,
  type ProgressListener,
  type Random,
  type Range,
  systemRandom,
  throwIfAborted,
} from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { newCid, newDescriptor, writeDescriptor } from './descriptor-write.ts';
import {
  COMPRESSION_DEFLATE,
  HostedFlags,
  type HostedHeader,
  sectorBytes,
  writeHostedHeader,
} from './hosted-header.ts';
import { type MarkerType, markerType, writeMarker } from './stream-markers.ts';
import { StreamPool } from './stream-pool.ts';

export interface StreamWriteOptions {
  /** Of zlib, 1 to 9. Default 4. */
  level?: number;
  /** Threads that compress. Default: as many as the machine runs side by side, 8 at most; 0: on the caller's. */
  workers?: number;
  /** The stream's own name, for the descriptor: some readers look for the extent under it. Default: disk.vmdk. */
  fileName?: string;
  /** For the descriptor's CID. */
  random?: Random;
  signal?: AbortSignal | undefined;
  onProgress?: ProgressListener | undefined;
}

export interface StreamWritten {
  /** Bytes read from the disk, and bytes of the stream. */
  read: number;
  written: number;
}

/** bench/convert.ts: within a twentieth of the size of level 6, which is zlib's default and QEMU's, in half its time. */
const defaultLevel = 4;

const grainSectors = 128;
const grainBytes = grainSectors * sectorBytes;
const entriesPerTable = 512;
const tableBytes = entriesPerTable * grainBytes;
const pieceBytes = MiB;
const descriptorSectors = 20;
const overHead = 128;
/** Sectors are 32 bits in tables. */
const mostSectors = 2 ** 32;

/**
 * The stream of what `source` holds. What it yields belongs to the caller. Ending it early, a failure and the signal
 * end its threads. Raises `cancelled`, what the source raises, and `unsupported` for what does not fit.
 */
export async function* writeVmdkStream(
  source: BlockDevice,
  options: StreamWriteOptions = {},
): AsyncGenerator<Uint8Array, StreamWritten> {
  const { level = defaultLevel, workers, signal, onProgress } = options;
  assert(Number.isInteger(level) && level >= 1 && level <= 9, `zlib's level ${level} is 1 to 9`);
  throwIfAborted(signal, doing);
  const layout = new StreamLayout(source.size);
  yield* layout.begin(options);
  await using resources = new AsyncDisposableStack();
  const pool = new StreamPool({ slotBytes: pieceBytes, workers });
  resources.defer(() => pool.close());
  const reader = new AbortController();
  const inner = signal ? AbortSignal.any([signal, reader.signal]) : reader.signal;
  let read = 0;
  const compress = async ({ offset, length }: Range) => {
    const slot = await pool.slot();
    try {
      await source.read(offset, slot.bytes.subarray(0, length), inner);
      read += length;
      const lba = offset / sectorBytes;
      const done = await pool.run({ op: 'deflate', slot: slot.index, length, grainBytes, lba, level });
      return { offset, length, ...done };
    } finally {
      slot.release();
    }
  };
  for await (const piece of inOrder(piecesOf(source, inner), pool.slotCount, compress)) {
    throwIfAborted(signal, doing);
    let isTaken = false;
    try {
      yield* layout.grains(piece.offset, piece);
      isTaken = true;
    } finally {
      // nobody wants the stream any longer: what still reads for it is not waited for
      if (!isTaken) reader.abort(new PrimaError('cancelled', `${doing} was given up`));
    }
    const { offset, length } = piece;
    onProgress?.({
      phase: 'copying',
      done: offset + length,
      total: source.size,
      read,
      stored: layout.written,
    });
  }
  throwIfAborted(signal, doing);
  yield* layout.end();
  onProgress?.({ phase: 'copying', done: source.size, total: source.size, read, stored: layout.written });
  return { read, written: layout.written };
}

const doing = 'writing a streamed VMDK';

/** The pieces of the disk that may hold anything but zeros, ascending. */
async function* piecesOf(source: BlockDevice, signal: AbortSignal): AsyncGenerator<Range> {
  let next = 0;
  for await (const { offset, length, kind } of source.extents(
    { offset: 0, length: source.size },
    { signal },
  )) {
    if (kind !== 'data') continue;
    next = Math.max(next, alignDown(offset, pieceBytes));
    for (; next < offset + length; next += pieceBytes) {
      yield { offset: next, length: Math.min(pieceBytes, source.size - next) };
    }
  }
}

/** Where everything in the stream is. */
class StreamLayout {
  readonly #header: HostedHeader;
  readonly #directory: Uint32Array;
  /** The table of the grains that were written last. */
  readonly #table = new Uint32Array(entriesPerTable);
  #tableNumber = -1;
  #sector = 0;

  constructor(size: number) {
    const capacity = size / sectorBytes;
    this.#directory = new Uint32Array(Math.ceil(size / tableBytes));
    this.#header = {
      version: 3,
      flags: HostedFlags.validNewLine | HostedFlags.compressed | HostedFlags.markers,
      capacity,
      grainSize: grainSectors,
      descriptorOffset: 1,
      descriptorSize: descriptorSectors,
      numGTEsPerGT: entriesPerTable,
      rgdOffset: 0,
      overHead,
      uncleanShutdown: false,
      compressAlgorithm: COMPRESSION_DEFLATE,
    };
  }

  /** Bytes. */
  get written(): number {
    return this.#sector * sectorBytes;
  }

  *begin(options: StreamWriteOptions): Generator<Uint8Array> {
    const front = new Uint8Array(overHead * sectorBytes);
    front.set(writeHostedHeader(this.#header));
    front.set(descriptorOf(this.#header.capacity, options), sectorBytes);
    yield this.#pass(front);
  }

  /** @param sectors of the record of each grain from `offset` on, 0 for none */
  *grains(
    offset: number,
    { records, sectors }: { records: Uint8Array; sectors: readonly number[] },
  ): Generator<Uint8Array> {
    if (records.length === 0) return;
    const number = Math.floor(offset / tableBytes);
    if (number !== this.#tableNumber) yield* this.#endTable();
    this.#tableNumber = number;
    let sector = this.#sector;
    for (const [index, count] of sectors.entries()) {
      if (count > 0) this.#table[(offset / grainBytes + index) % entriesPerTable] = sector;
      sector += count;
    }
    yield this.#pass(records);
  }

  *end(): Generator<Uint8Array> {
    yield* this.#endTable();
    const directory = padded(this.#directory);
    const gdOffset = yield* this.#behind(markerType.grainDirectory, directory);
    yield* this.#behind(markerType.footer, writeHostedHeader({ ...this.#header, gdOffset }));
    yield this.#pass(writeMarker(markerType.endOfStream, 0));
  }

  *#endTable(): Generator<Uint8Array> {
    if (this.#tableNumber < 0) return;
    this.#directory[this.#tableNumber] = yield* this.#behind(markerType.grainTable, padded(this.#table));
    this.#table.fill(0);
  }

  /** Puts `content` behind a marker; the sector of the content. */
  *#behind(type: MarkerType, content: Uint8Array): Generator<Uint8Array, number> {
    yield this.#pass(writeMarker(type, content.length / sectorBytes));
    const sector = this.#sector;
    yield this.#pass(content);
    return sector;
  }

  #pass(bytes: Uint8Array): Uint8Array {
    this.#sector += bytes.length / sectorBytes;
    if (this.#sector < mostSectors) return bytes;
    throw new PrimaError(
      'unsupported',
      'the disk does not fit into a streamed VMDK, whose tables reach 2 TiB far; choose another format',
    );
  }
}

/** 32-bit words, little-endian, filled up to whole sectors. */
function padded(words: Uint32Array): Uint8Array {
  const bytes = Buffer.alloc(alignUp(words.length * 4, sectorBytes));
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word, index * 4);
  return bytes;
}

/** 255 heads and 63 sectors are what VMware gives a SCSI disk; it counts no more than 65535 cylinders. */
const heads = 255;
const sectorsPerTrack = 63;
const mostCylinders = 65_535;

const usualName = 'disk.vmdk';

function descriptorOf(capacity: number, options: StreamWriteOptions): Uint8Array {
  const { fileName = usualName, random = systemRandom } = options;
  // what cannot stand in a descriptor is not worth a failure: few ask for the name
  const file = /["\0\r\n]/.test(fileName) || fileName.length > 255 ? usualName : fileName;
  const cylinders = Math.min(mostCylinders, Math.ceil(capacity / (heads * sectorsPerTrack)));
  const descriptor = newDescriptor({
    cid: newCid(random),
    createType: 'streamOptimized',
    extents: [{ access: 'RW', sectors: capacity, type: 'SPARSE', file, offset: 0 }],
    ddb: {
      virtualHWVersion: 4,
      adapterType: 'lsilogic',
      'geometry.cylinders': cylinders,
      'geometry.heads': heads,
      'geometry.sectors': sectorsPerTrack,
    },
  });
  const text = writeDescriptor(descriptor);
  assert(text.length < descriptorSectors * sectorBytes, 'the descriptor fits into its sectors');
  return text;
}
