/**
 * Messages of the handshake ("option haggling"), both directions: pure functions over bytes.
 *
 *     option        0 u64 IHAVEOPT   8 u32 option   12 u32 length   16 data
 *     option reply  0 u64 magic   8 u32 option   12 u32 reply type   16 u32 length   20 data
 */
import { ProtocolError } from '@prima/base';
import * as nbd from './protocol.ts';

export const optionHeaderBytes = 16;

export function writeOption(option: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(optionHeaderBytes + data.length);
  bytes.writeBigUInt64BE(nbd.IHAVEOPT, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(data.length, 12);
  bytes.set(data, optionHeaderBytes);
  return bytes;
}

export function parseOptionHeader(bytes: Buffer): { option: number; length: number } {
  nbd.expectMagic('option', bytes.readBigUInt64BE(0), nbd.IHAVEOPT);
  return { option: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) };
}

export interface OptionReplyHeader {
  option: number;
  type: number;
  length: number;
}

export const optionReplyHeaderBytes = 20;

export function writeOptionReply(option: number, type: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc(optionReplyHeaderBytes + data.length);
  bytes.writeBigUInt64BE(nbd.NBD_REP_MAGIC, 0);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, optionReplyHeaderBytes);
  return bytes;
}

export function parseOptionReplyHeader(bytes: Buffer): OptionReplyHeader {
  nbd.expectMagic('option reply', bytes.readBigUInt64BE(0), nbd.NBD_REP_MAGIC);
  const header = {
    option: bytes.readUInt32BE(8),
    type: bytes.readUInt32BE(12),
    length: bytes.readUInt32BE(16),
  };
  if (header.length > nbd.limits.optionReplyBytes) {
    throw new ProtocolError(
      `NBD option ${header.option}: a reply of ${header.length} bytes; at most ${nbd.limits.optionReplyBytes} wanted`,
    );
  }
  return header;
}

/** Takes fields off the front of a message; running past its end is the peer's mistake. */
export class FieldReader {
  readonly #what: string;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(what: string, bytes: Buffer) {
    this.#what = what;
    this.#bytes = bytes;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint16(): number {
    return this.#take(2).readUInt16BE(0);
  }

  uint32(): number {
    return this.#take(4).readUInt32BE(0);
  }

  uint64(): number {
    return nbd.safeNumber(this.#what, this.#take(8).readBigUInt64BE(0));
  }

  /** Text of `length` bytes: UTF-8, at most 4096 bytes, no NUL. */
  text(length: number = this.left): string {
    if (length > nbd.limits.stringBytes) {
      throw new ProtocolError(`NBD ${this.#what}: text of ${length} bytes; at most 4096 wanted`);
    }
    const bytes = this.#take(length);
    if (bytes.includes(0)) throw new ProtocolError(`NBD ${this.#what}: text with a NUL byte`);
    return bytes.toString('utf8');
  }

  /** Raises unless everything was taken. */
  end(): void {
    if (this.left !== 0) throw new ProtocolError(`NBD ${this.#what}: ${this.left} bytes too many`);
  }

  #take(length: number): Buffer {
    if (length > this.left) {
      throw new ProtocolError(`NBD ${this.#what}: ends at byte ${this.#bytes.length}; more wanted`);
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }
}

function textField(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  const field = Buffer.alloc(4 + bytes.length);
  field.writeUInt32BE(bytes.length, 0);
  field.set(bytes, 4);
  return field;
}

/** Data of NBD_OPT_INFO and NBD_OPT_GO. */
export function writeInfoRequest(name: string, requests: readonly number[]): Buffer {
  const tail = Buffer.alloc(2 + 2 * requests.length);
  tail.writeUInt16BE(requests.length, 0);
  requests.forEach((request, index) => tail.writeUInt16BE(request, 2 + 2 * index));
  return Buffer.concat([textField(name), tail]);
}

export function parseInfoRequest(bytes: Buffer): { name: string; requests: number[] } {
  const fields = new FieldReader('NBD_OPT_INFO or NBD_OPT_GO', bytes);
  const name = fields.text(fields.uint32());
  const count = fields.uint16();
  const requests: number[] = [];
  for (let i = 0; i < count; i += 1) requests.push(fields.uint16());
  fields.end();
  return { name, requests };
}

/** Data of NBD_OPT_SET_META_CONTEXT and NBD_OPT_LIST_META_CONTEXT. */
export function writeContextRequest(name: string, queries: readonly string[]): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(queries.length, 0);
  return Buffer.concat([textField(name), count, ...queries.map(textField)]);
}

export function parseContextRequest(bytes: Buffer): { name: string; queries: string[] } {
  const fields = new FieldReader('meta context request', bytes);
  const name = fields.text(fields.uint32());
  const count = fields.uint32();
  const queries: string[] = [];
  for (let i = 0; i < count; i += 1) queries.push(fields.text(fields.uint32()));
  fields.end();
  return { name, queries };
}

/** Data of NBD_REP_META_CONTEXT. */
export function writeContext(id: number, name: string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(id, 0);
  return Buffer.concat([head, Buffer.from(name, 'utf8')]);
}

export function parseContext(bytes: Buffer): { id: number; name: string } {
  const fields = new FieldReader('NBD_REP_META_CONTEXT', bytes);
  return { id: fields.uint32(), name: fields.text() };
}

/** Data of NBD_REP_SERVER: an export's name and, optionally, words about it. */
export function writeServer(name: string, description = ''): Buffer {
  return Buffer.concat([textField(name), Buffer.from(description, 'utf8')]);
}

export function parseServer(bytes: Buffer): { name: string; description: string } {
  const fields = new FieldReader('NBD_REP_SERVER', bytes);
  return { name: fields.text(fields.uint32()), description: fields.text() };
}

export interface BlockSizes {
  minimum: number;
  preferred: number;
  /** Longest payload of one request. */
  maximum: number;
}

/** What a server says about the export that is being opened. */
export interface ExportInfo {
  size: number;
  flags: number;
  name?: string;
  description?: string;
  blockSizes?: BlockSizes;
}

export function writeExportInfo(size: number, flags: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt16BE(nbd.NBD_INFO_EXPORT, 0);
  bytes.writeBigUInt64BE(BigInt(size), 2);
  bytes.writeUInt16BE(flags, 10);
  return bytes;
}

export function writeTextInfo(type: number, text: string): Buffer {
  const head = Buffer.alloc(2);
  head.writeUInt16BE(type, 0);
  return Buffer.concat([head, Buffer.from(text, 'utf8')]);
}

export function writeBlockSizeInfo(sizes: BlockSizes): Buffer {
  const bytes = Buffer.alloc(14);
  bytes.writeUInt16BE(nbd.NBD_INFO_BLOCK_SIZE, 0);
  bytes.writeUInt32BE(sizes.minimum, 2);
  bytes.writeUInt32BE(sizes.preferred, 6);
  bytes.writeUInt32BE(sizes.maximum, 10);
  return bytes;
}

/** Puts one NBD_REP_INFO into `info`; kinds that are not known are passed over, as the protocol wants. */
export function parseInfo(bytes: Buffer, info: Partial<ExportInfo>): void {
  const fields = new FieldReader('NBD_REP_INFO', bytes);
  const type = fields.uint16();
  if (type === nbd.NBD_INFO_EXPORT) {
    info.size = fields.uint64();
    info.flags = fields.uint16();
    fields.end();
  } else if (type === nbd.NBD_INFO_NAME) {
    info.name = fields.text();
  } else if (type === nbd.NBD_INFO_DESCRIPTION) {
    info.description = fields.text();
  } else if (type === nbd.NBD_INFO_BLOCK_SIZE) {
    info.blockSizes = parseBlockSizes(fields);
  }
}

function parseBlockSizes(fields: FieldReader): BlockSizes {
  const sizes = { minimum: fields.uint32(), preferred: fields.uint32(), maximum: fields.uint32() };
  fields.end();
  const { minimum, preferred, maximum } = sizes;
  const powerOfTwo = (value: number) => value > 0 && (value & (value - 1)) === 0;
  // an all-ones maximum means none; anything else is a multiple of the minimum
  const maximumFits = maximum === 0xffffffff || maximum % minimum === 0;
  const fits = minimum <= 65536 && preferred >= minimum && maximum >= preferred && maximumFits;
  if (!powerOfTwo(minimum) || !powerOfTwo(preferred) || !fits) {
    throw new ProtocolError(
      `NBD_INFO_BLOCK_SIZE: minimum ${minimum}, preferred ${preferred}, maximum ${maximum} do not fit together`,
    );
  }
  return sizes;
}
