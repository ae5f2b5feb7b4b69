/** A grain's data: zlib-framed deflate (RFC 1950), whatever the specification says of RFC 1951. */
import { promisify } from 'node:util';
import { deflateSync, inflate, inflateSync } from 'node:zlib';
import { FormatError, KiB } from '@prima/base';

/** The most that the data of one grain may take: what cannot be compressed gets larger, but not without bound. */
export function mostGrainData(grainBytes: number): number {
  return 2 * grainBytes + KiB;
}

export function deflateGrain(grain: Uint8Array, level: number): Uint8Array {
  // room for what cannot be compressed, so that there is one buffer
  return deflateSync(grain, { level, chunkSize: grain.length + Math.max(64, grain.length >> 8) });
}

export interface InflateWanted {
  /** What the grain has to have, bytes; more is refused before it takes memory. */
  bytes: number;
  /** Fewer will do: the last grain of a disk may end with the disk. */
  leastBytes?: number;
  /** Where the grain is, for messages: "x.vmdk: the grain at byte 65536". */
  where: string;
}

/** Raises `format` for what is no zlib data, damaged, or of another size than a grain. */
export function inflateGrain(data: Uint8Array, wanted: InflateWanted): Uint8Array {
  needZlibHeader(data, wanted.where);
  try {
    return needAll(inflateSync(data, limitsOf(wanted)), wanted);
  } catch (error) {
    throw explained(error, wanted);
  }
}

const inflateAside = promisify(inflate);

/** The same on a thread of its own, which takes longer to get to than a grain is worth where there are workers. */
export async function inflateGrainAside(data: Uint8Array, wanted: InflateWanted): Promise<Uint8Array> {
  needZlibHeader(data, wanted.where);
  try {
    return needAll(await inflateAside(data, limitsOf(wanted)), wanted);
  } catch (error) {
    throw explained(error, wanted);
  }
}

/** A little more than a grain, so that a whole one leaves the loop of inflate at once. */
function limitsOf({ bytes }: InflateWanted) {
  return { chunkSize: bytes + 64, maxOutputLength: bytes };
}

function needAll(grain: Uint8Array, { bytes, leastBytes = bytes, where }: InflateWanted): Uint8Array {
  if (grain.length >= leastBytes) return grain;
  throw new FormatError(`${where} holds ${grain.length} bytes where ${bytes} were wanted`);
}

function explained(error: unknown, { bytes, where }: InflateWanted): FormatError {
  if (error instanceof FormatError) return error;
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ERR_BUFFER_TOO_LARGE') {
    return new FormatError(`${where} holds more than the ${bytes} bytes of a grain`, { cause: error });
  }
  const text = error instanceof Error ? error.message : String(error);
  return new FormatError(`${where} does not decompress: ${text}; the file is damaged`, { cause: error });
}

/** RFC 1950, 2.2: method 8, a check of the two bytes, no preset dictionary. */
function needZlibHeader(data: Uint8Array, where: string): void {
  const [method = 0, flags = 0] = data;
  if ((method & 0x0f) === 8 && method >> 4 <= 7 && (method * 256 + flags) % 31 === 0 && !(flags & 0x20))
    return;
  const found = Buffer.from(data.subarray(0, 2)).toString('hex');
  throw new FormatError(
    `${where} begins with ${found}, which is no zlib header (RFC 1950): either the file is damaged or its writer ` +
      'left the header away, and then nothing says whether the data is whole; have it written again',
  );
}
