/**
 * XDR (RFC 4506) as libvirt uses it: big endian, everything in units of four bytes. A codec is a value that both writes and
 * reads one type; the TypeScript types of calls come from them. Every length has a limit, and what comes from outside is
 * checked against it before memory is taken. Reading raises `protocol` with the offset, writing raises `usage`.
 */
import { ProtocolError, UserError } from '@prima/base';
import { bytesOfText, textOfBytes } from './text.ts';

/** `In` is what is written where that may be less than what is read: fields with a default may be left out. */
export interface Codec<Out, In = Out> {
  write(writer: XdrWriter, value: In): void;
  read(reader: XdrReader): Out;
}

export type Read<C> = C extends { read(reader: XdrReader): infer Out } ? Out : never;
export type Written<C> = C extends { write(writer: XdrWriter, value: infer In): void } ? In : never;

const unitBytes = 4;

export class XdrReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get offset(): number {
    return this.#offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  /** The next `length` bytes, without what pads them to whole units. Not a copy. */
  take(length: number): Buffer {
    const padded = length + padding(length);
    if (padded > this.remaining) {
      this.fail(`${padded} bytes are wanted, ${this.remaining} are left`);
    }
    const bytes = this.#bytes.subarray(this.#offset, this.#offset + length);
    this.#offset += padded;
    return bytes;
  }

  /** A length that is followed by as many times `itemBytes` at least. */
  takeLength(limit: number, itemBytes: number): number {
    const length = this.take(unitBytes).readUInt32BE(0);
    if (length > limit) this.fail(`a length of ${length} where at most ${limit} is allowed`);
    if (length * itemBytes > this.remaining) {
      this.fail(`a length of ${length} where only ${this.remaining} bytes are left`);
    }
    return length;
  }

  /** Raises `protocol` unless everything has been read. */
  end(): void {
    if (this.remaining > 0) this.fail(`${this.remaining} bytes that nothing explains`);
  }

  fail(what: string): never {
    throw new ProtocolError(`XDR at byte ${this.#offset}: ${what}`, { details: { offset: this.#offset } });
  }
}

export class XdrWriter {
  #bytes = Buffer.alloc(256);
  #length = 0;

  /** Room for `length` bytes and what pads them, all zeros. Valid until the next call. */
  place(length: number): Buffer {
    const end = this.#length + length + padding(length);
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(Math.max(end, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    const room = this.#bytes.subarray(this.#length, this.#length + length);
    this.#length = end;
    return room;
  }

  /** Everything written so far. Not a copy. */
  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }
}

function padding(length: number): number {
  return (unitBytes - (length % unitBytes)) % unitBytes;
}

function whole(value: number, from: number, to: number): number {
  if (Number.isSafeInteger(value) && value >= from && value <= to) return value;
  throw new UserError('usage', `${value} is not a whole number from ${from} to ${to}`);
}

function wholeBig(value: bigint, from: bigint, to: bigint): bigint {
  if (value >= from && value <= to) return value;
  throw new UserError('usage', `${value} is not a whole number from ${from} to ${to}`);
}

export const int32: Codec<number> = {
  write: (writer, value) => void writer.place(4).writeInt32BE(whole(value, -(2 ** 31), 2 ** 31 - 1)),
  read: (reader) => reader.take(4).readInt32BE(0),
};

export const uint32: Codec<number> = {
  write: (writer, value) => void writer.place(4).writeUInt32BE(whole(value, 0, 2 ** 32 - 1)),
  read: (reader) => reader.take(4).readUInt32BE(0),
};

/** C's truth values as libvirt sends them: an int, 0 or 1. Anything but 0 is read as true. */
export const flag: Codec<boolean> = {
  write: (writer, value) => int32.write(writer, value ? 1 : 0),
  read: (reader) => int32.read(reader) !== 0,
};

export const int64: Codec<bigint> = {
  write: (writer, value) =>
    void writer.place(8).writeBigInt64BE(wholeBig(value, -(2n ** 63n), 2n ** 63n - 1n)),
  read: (reader) => reader.take(8).readBigInt64BE(0),
};

export const uint64: Codec<bigint> = {
  write: (writer, value) => void writer.place(8).writeBigUInt64BE(wholeBig(value, 0n, 2n ** 64n - 1n)),
  read: (reader) => reader.take(8).readBigUInt64BE(0),
};

/** An unsigned 64-bit field that stays below 2^53, as sizes, offsets and bandwidths do. */
export const safeUint64: Codec<number> = {
  write: (writer, value) => uint64.write(writer, BigInt(whole(value, 0, Number.MAX_SAFE_INTEGER))),
  read: (reader) => safe(uint64.read(reader), reader),
};

/** A signed 64-bit field that stays within ±2^53. */
export const safeInt64: Codec<number> = {
  write: (writer, value) =>
    int64.write(writer, BigInt(whole(value, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER))),
  read: (reader) => safe(int64.read(reader), reader),
};

function safe(value: bigint, reader: XdrReader): number {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : reader.fail(`${value} is no number below 2^53`);
}

export const float64: Codec<number> = {
  write: (writer, value) => void writer.place(8).writeDoubleBE(value),
  read: (reader) => reader.take(8).readDoubleBE(0),
};

/** Bytes of any number up to `limit`. What is read is a copy. */
export function opaque(limit: number): Codec<Uint8Array> {
  return {
    write(writer, value) {
      uint32.write(writer, whole(value.length, 0, limit));
      writer.place(value.length).set(value);
    },
    read: (reader) => Uint8Array.from(reader.take(reader.takeLength(limit, 1))),
  };
}

/**
 * Text of at most `limit` bytes; bytes that are not UTF-8 survive (see text.ts). A NUL is refused in both directions: the
 * other side is C, where the text would end there.
 */
export function string(limit: number): Codec<string> {
  return {
    write(writer, value) {
      const bytes = bytesOfText(value);
      if (bytes.includes(0)) {
        throw new UserError(
          'usage',
          `${JSON.stringify(value.slice(0, 200))} has a NUL in it, which libvirt cannot carry`,
        );
      }
      if (bytes.length > limit) {
        throw new UserError(
          'usage',
          `a text of ${bytes.length} bytes is longer than libvirt takes, ${limit}`,
        );
      }
      uint32.write(writer, bytes.length);
      writer.place(bytes.length).set(bytes);
    },
    read(reader) {
      const bytes = reader.take(reader.takeLength(limit, 1));
      return bytes.includes(0) ? reader.fail('a text with a NUL in it') : textOfBytes(bytes);
    },
  };
}

/** XDR's optional data: C's pointer that may be NULL. */
export function optional<Out, In>(codec: Codec<Out, In>): Codec<Out | undefined, In | undefined> {
  return {
    write(writer, value) {
      flag.write(writer, value !== undefined);
      if (value !== undefined) codec.write(writer, value);
    },
    read: (reader) => (reader.takeLength(1, 0) === 1 ? codec.read(reader) : undefined),
  };
}

export function array<Out, In>(codec: Codec<Out, In>, limit: number): Codec<Out[], readonly In[]> {
  return {
    write(writer, values) {
      uint32.write(writer, whole(values.length, 0, limit));
      for (const value of values) codec.write(writer, value);
    },
    read(reader) {
      const length = reader.takeLength(limit, unitBytes);
      return Array.from({ length }, () => codec.read(reader));
    },
  };
}

/** C's `char`s, which XDR spreads over four bytes each; used for SASL's data. */
export function chars(limit: number): Codec<Uint8Array> {
  const inner = array(uint32, limit);
  return {
    write: (writer, value) => inner.write(writer, [...value]),
    read: (reader) => Uint8Array.from(inner.read(reader)),
  };
}

/** C's `char[length]` that holds text up to a NUL; each `char` is four bytes. Only read. */
export function fixedChars(length: number): Codec<string, never> {
  return {
    write: () => undefined,
    read(reader) {
      const bytes = Buffer.from(Array.from({ length }, () => uint32.read(reader)));
      const end = bytes.indexOf(0);
      return textOfBytes(end < 0 ? bytes : bytes.subarray(0, end));
    },
  };
}

/** A field that may be left out by who writes. */
export function defaulting<Out, In>(codec: Codec<Out, In>, value: In): Codec<Out, In | undefined> {
  return {
    write: (writer, given) => codec.write(writer, given ?? value),
    read: (reader) => codec.read(reader),
  };
}

export type Fields = Readonly<Record<string, Codec<unknown, never>>>;
export type ReadFields<F> = { -readonly [K in keyof F]: Read<F[K]> };
type MayBeLeftOut<F, K extends keyof F> = undefined extends Written<F[K]> ? K : never;
export type WrittenFields<F> = { [K in keyof F as Exclude<K, MayBeLeftOut<F, K>>]: Written<F[K]> } & {
  [K in keyof F as MayBeLeftOut<F, K>]?: Written<F[K]>;
};

/** The fields in their order, each under its name. */
export function struct<F extends Fields>(fields: F): Codec<ReadFields<F>, WrittenFields<F>> {
  const entries = Object.entries(fields);
  return {
    write(writer, value) {
      const given = value as Readonly<Record<string, never>>;
      for (const [name, codec] of entries) codec.write(writer, given[name]);
    },
    read: (reader) =>
      Object.fromEntries(entries.map(([name, codec]) => [name, codec.read(reader)])) as ReadFields<F>,
  };
}

export function encode<In>(codec: Codec<unknown, In>, value: In): Buffer {
  const writer = new XdrWriter();
  codec.write(writer, value);
  return writer.bytes;
}

/** Raises `protocol` when `bytes` are not exactly one value. */
export function decode<Out>(codec: Codec<Out, never>, bytes: Buffer): Out {
  const reader = new XdrReader(bytes);
  const value = codec.read(reader);
  reader.end();
  return value;
}
