/**
 * Constants of the NBD protocol, with the spelling of its specification
 * (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md), and the fixed-size messages of
 * the transmission phase. Everything on the wire is big-endian.
 *
 *     request           0 u32 magic   4 u16 flags   6 u16 type   8 u64 cookie   16 u64 offset   24 u32 length
 *     simple reply      0 u32 magic   4 u32 error   8 u64 cookie
 *     structured reply  0 u32 magic   4 u16 flags   6 u16 type   8 u64 cookie   16 u32 length
 */
import { KiB, MiB, ProtocolError } from '@prima/base';

export const NBDMAGIC = 0x4e42444d41474943n;
export const IHAVEOPT = 0x49484156454f5054n;
export const NBD_CLISERV_MAGIC = 0x00420281861253n;
export const NBD_REP_MAGIC = 0x3e889045565a9n;
const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const NBD_FLAG_FIXED_NEWSTYLE = 1 << 0;
export const NBD_FLAG_NO_ZEROES = 1 << 1;

export const NBD_FLAG_HAS_FLAGS = 1 << 0;
export const NBD_FLAG_READ_ONLY = 1 << 1;
export const NBD_FLAG_SEND_FLUSH = 1 << 2;
export const NBD_FLAG_SEND_FUA = 1 << 3;
export const NBD_FLAG_SEND_TRIM = 1 << 5;
export const NBD_FLAG_SEND_WRITE_ZEROES = 1 << 6;
export const NBD_FLAG_CAN_MULTI_CONN = 1 << 8;
export const NBD_FLAG_SEND_CACHE = 1 << 10;

export const NBD_OPT_EXPORT_NAME = 1;
export const NBD_OPT_ABORT = 2;
export const NBD_OPT_LIST = 3;
export const NBD_OPT_STARTTLS = 5;
export const NBD_OPT_INFO = 6;
export const NBD_OPT_GO = 7;
export const NBD_OPT_STRUCTURED_REPLY = 8;
export const NBD_OPT_LIST_META_CONTEXT = 9;
export const NBD_OPT_SET_META_CONTEXT = 10;

export const NBD_REP_ACK = 1;
export const NBD_REP_SERVER = 2;
export const NBD_REP_INFO = 3;
export const NBD_REP_META_CONTEXT = 4;
export const NBD_REP_FLAG_ERROR = 0x80000000;
export const NBD_REP_ERR_UNSUP = 0x80000001;
export const NBD_REP_ERR_POLICY = 0x80000002;
export const NBD_REP_ERR_INVALID = 0x80000003;
export const NBD_REP_ERR_TLS_REQD = 0x80000005;
export const NBD_REP_ERR_UNKNOWN = 0x80000006;

export const NBD_INFO_EXPORT = 0;
export const NBD_INFO_NAME = 1;
export const NBD_INFO_DESCRIPTION = 2;
export const NBD_INFO_BLOCK_SIZE = 3;

export const NBD_CMD_READ = 0;
export const NBD_CMD_WRITE = 1;
export const NBD_CMD_DISC = 2;
export const NBD_CMD_FLUSH = 3;
export const NBD_CMD_TRIM = 4;
export const NBD_CMD_CACHE = 5;
export const NBD_CMD_WRITE_ZEROES = 6;
export const NBD_CMD_BLOCK_STATUS = 7;

export const NBD_CMD_FLAG_FUA = 1 << 0;
export const NBD_CMD_FLAG_NO_HOLE = 1 << 1;
export const NBD_CMD_FLAG_REQ_ONE = 1 << 3;

export const NBD_REPLY_FLAG_DONE = 1 << 0;
export const NBD_REPLY_TYPE_NONE = 0;
export const NBD_REPLY_TYPE_OFFSET_DATA = 1;
export const NBD_REPLY_TYPE_OFFSET_HOLE = 2;
export const NBD_REPLY_TYPE_BLOCK_STATUS = 5;
export const NBD_REPLY_TYPE_ERROR = 0x8001;
/** Every chunk type with this bit means failure, known or not. */
export const NBD_REPLY_TYPE_FLAG_ERROR = 0x8000;

export const NBD_STATE_HOLE = 1 << 0;
export const NBD_STATE_ZERO = 1 << 1;

export const NBD_EPERM = 1;
export const NBD_EIO = 5;
export const NBD_ENOMEM = 12;
export const NBD_EINVAL = 22;
export const NBD_ENOSPC = 28;
export const NBD_EOVERFLOW = 75;
export const NBD_ENOTSUP = 95;
export const NBD_ESHUTDOWN = 108;

/** Limits on what a peer may send. The first three are the specification's. */
export const limits = {
  /** Bytes of any string: export names, context names, messages. */
  stringBytes: 4096,
  /** Payload of a request or reply where the server names no limit of its own. */
  payloadBytes: 32 * MiB,
  /** The default smallest and preferred block sizes of a server that names none. */
  preferredBlockBytes: 4096,
  /** Option data, client to server. */
  optionBytes: 64 * KiB,
  /** One reply to an option, server to client. */
  optionReplyBytes: 64 * KiB,
  /** Replies to one option: exports listed, contexts granted. */
  optionReplies: 10_000,
  /** Descriptors in one block status chunk. */
  statusEntries: 1024 * KiB,
} as const;

/** The context that every server with block status has. */
export const baseAllocation = 'base:allocation';

const commandNames = ['READ', 'WRITE', 'DISC', 'FLUSH', 'TRIM', 'CACHE', 'WRITE_ZEROES', 'BLOCK_STATUS'];

/** `0` → `NBD_CMD_READ`. */
export function commandName(type: number): string {
  return `NBD_CMD_${commandNames[type] ?? type}`;
}

export interface Request {
  flags: number;
  type: number;
  /** Chosen by the client, given back by the server. */
  cookie: bigint;
  offset: bigint;
  length: number;
}

export const requestBytes = 28;

/** The 28 bytes of a request; a write's payload follows them. */
export function writeRequest(request: Request): Buffer {
  const bytes = Buffer.allocUnsafe(requestBytes);
  bytes.writeUInt32BE(NBD_REQUEST_MAGIC, 0);
  bytes.writeUInt16BE(request.flags, 4);
  bytes.writeUInt16BE(request.type, 6);
  bytes.writeBigUInt64BE(request.cookie, 8);
  bytes.writeBigUInt64BE(request.offset, 16);
  bytes.writeUInt32BE(request.length, 24);
  return bytes;
}

/** Raises `protocol` when the magic is wrong; checks nothing else. */
export function parseRequest(bytes: Buffer): Request {
  expectMagic('request', bytes.readUInt32BE(0), NBD_REQUEST_MAGIC);
  return {
    flags: bytes.readUInt16BE(4),
    type: bytes.readUInt16BE(6),
    cookie: bytes.readBigUInt64BE(8),
    offset: bytes.readBigUInt64BE(16),
    length: bytes.readUInt32BE(24),
  };
}

export const simpleReplyBytes = 16;

export function writeSimpleReply(cookie: bigint, error: number): Buffer {
  const bytes = Buffer.allocUnsafe(simpleReplyBytes);
  bytes.writeUInt32BE(NBD_SIMPLE_REPLY_MAGIC, 0);
  bytes.writeUInt32BE(error, 4);
  bytes.writeBigUInt64BE(cookie, 8);
  return bytes;
}

export interface ChunkHeader {
  flags: number;
  type: number;
  cookie: bigint;
  /** Bytes that follow. */
  length: number;
}

export const chunkHeaderBytes = 20;

/** The 20 bytes before a structured reply chunk, with room for `extra` bytes after them. */
export function writeChunkHeader(header: ChunkHeader, extra = 0): Buffer {
  const bytes = Buffer.allocUnsafe(chunkHeaderBytes + extra);
  bytes.writeUInt32BE(NBD_STRUCTURED_REPLY_MAGIC, 0);
  bytes.writeUInt16BE(header.flags, 4);
  bytes.writeUInt16BE(header.type, 6);
  bytes.writeBigUInt64BE(header.cookie, 8);
  bytes.writeUInt32BE(header.length, 16);
  return bytes;
}

export function parseChunkHeader(bytes: Buffer): ChunkHeader {
  expectMagic('structured reply', bytes.readUInt32BE(0), NBD_STRUCTURED_REPLY_MAGIC);
  return {
    flags: bytes.readUInt16BE(4),
    type: bytes.readUInt16BE(6),
    cookie: bytes.readBigUInt64BE(8),
    length: bytes.readUInt32BE(16),
  };
}

/** Raises `protocol` when a magic number is not the one wanted. */
export function expectMagic(what: string, found: number | bigint, wanted: number | bigint): void {
  if (found === wanted) return;
  const hex = (value: number | bigint) => `0x${value.toString(16)}`;
  throw new ProtocolError(`NBD ${what}: magic ${hex(found)} found, ${hex(wanted)} wanted`);
}

/** A 64-bit field as a number; raises `protocol` above 2^53 − 1. */
export function safeNumber(what: string, value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new ProtocolError(`NBD ${what} ${value} is larger than Prima handles (2^53 − 1)`);
  }
  return Number(value);
}
