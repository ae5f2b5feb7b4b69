/**
 * What a thread of a stream's pool does: it compresses the grains of a piece of disk into their records, and
 * decompresses grains. The disk's bytes lie in shared memory, compressed ones go along with the messages.
 */
import { assert, type ErrorCode, isZero, toPrimaError } from '@prima/base';
import { sectorBytes } from './hosted-header.ts';
import { deflateGrain, inflateGrain } from './stream-codec.ts';
import { grainRecordBytes, writeGrain } from './stream-markers.ts';

export interface WorkerSetup {
  /** Pieces of shared memory for bytes of the disk. */
  slots: SharedArrayBuffer[];
}

export interface DeflateWork {
  op: 'deflate';
  slot: number;
  /** Bytes in the slot; the last grain is filled up with zeros. */
  length: number;
  grainBytes: number;
  /** Sector of the disk where the slot begins. */
  lba: number;
  level: number;
}

export interface InflateWork {
  op: 'inflate';
  slot: number;
  grainBytes: number;
  /** The grains' data, one after the other; they lie one after the other on the disk too. */
  data: Uint8Array<ArrayBuffer>;
  /** Bytes of data of each grain. */
  sizes: number[];
  /** Where each grain's marker lies in the stream, bytes. */
  places: number[];
  /** Bytes of the disk that the last grain covers at least. */
  lastBytes: number;
  /** Name of the stream, for messages. */
  name: string;
}

export type Work = DeflateWork | InflateWork;
export type Request = Work & { job: number };

export type Answer =
  | { op: 'done'; job: number; records: Uint8Array<ArrayBuffer>; sectors: number[] }
  | { op: 'failed'; job: number; code: ErrorCode; message: string };
export type Done = Extract<Answer, { op: 'done' }>;

/** Does what is asked. What it gives back in `records` is the caller's to give away. */
export function answerTo(request: Request, slots: readonly Uint8Array[]): Answer {
  const { job } = request;
  try {
    const slot = slots[request.slot];
    assert(slot, `slot ${request.slot} is there`);
    if (request.op === 'deflate') return { op: 'done', job, ...deflated(request, slot) };
    inflateInto(request, slot);
    // its memory goes back to who gave it
    return { op: 'done', job, records: request.data, sectors: [] };
  } catch (error) {
    const { code, message } = toPrimaError(error, 'working on grains');
    return { op: 'failed', job, code, message };
  }
}

/** `sectors` has the number of sectors of each grain's record; 0 for one that is all zeros and has none. */
function deflated(
  work: DeflateWork,
  slot: Uint8Array,
): { records: Uint8Array<ArrayBuffer>; sectors: number[] } {
  const { grainBytes, length, lba, level } = work;
  const datas: (Uint8Array | undefined)[] = [];
  let total = 0;
  for (let offset = 0; offset < length; offset += grainBytes) {
    const end = offset + grainBytes;
    if (end > length) slot.fill(0, length, end);
    const grain = slot.subarray(offset, end);
    const data = isZero(grain) ? undefined : deflateGrain(grain, level);
    datas.push(data);
    if (data) total += grainRecordBytes(data.length);
  }
  const records = new Uint8Array(total);
  let at = 0;
  const sectors = datas.map((data, index) => {
    if (!data) return 0;
    const record = records.subarray(at, at + grainRecordBytes(data.length));
    writeGrain(record, lba + (index * grainBytes) / sectorBytes, data);
    at += record.length;
    return record.length / sectorBytes;
  });
  return { records, sectors };
}

function inflateInto(work: InflateWork, slot: Uint8Array): void {
  const { grainBytes: bytes, data, sizes, places, lastBytes, name } = work;
  let from = 0;
  for (const [index, size] of sizes.entries()) {
    const isLast = index === sizes.length - 1;
    const where = `${name}: the grain at byte ${places[index]}`;
    const leastBytes = isLast ? lastBytes : bytes;
    const grain = inflateGrain(data.subarray(from, from + size), { bytes, leastBytes, where });
    slot.set(grain, index * bytes);
    from += size;
  }
}
