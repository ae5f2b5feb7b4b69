/**
 * What a server answers in the transmission phase, checked against what was asked: simple replies and
 * structured reply chunks. Data goes straight into the memory of the request that asked for it.
 *
 * Pure but for the memory it fills: no clock, no socket. A lying server ends in a ProtocolError.
 */
import { KiB, mergeRanges, type PrimaError, ProtocolError, type Range } from '@prima/base';
import { requestFailed } from './error-codes.ts';
import * as nbd from './protocol.ts';
import type { ByteSink } from './wire.ts';

/** One run of blocks in one context. */
export interface StatusEntry {
  length: number;
  flags: number;
}

/** A request that waits for its reply. */
export interface ExpectedReply {
  readonly type: number;
  readonly offset: number;
  readonly length: number;
  /** What is being done, to whom, for messages. */
  readonly doing: string;
  /** Where a read's bytes go; undefined when nobody wants them any more. */
  into?: Uint8Array | undefined;
  /** Parts of a read that have been answered, merged while they come in order. */
  answered: Range[];
  answeredBytes: number;
  /** Answers to block status, by context id. */
  status?: Map<number, StatusEntry[]>;
  /** The first error that the server reported. */
  error?: PrimaError;
}

export interface ReplyListener {
  /** True when structured replies were negotiated. */
  readonly structured: boolean;
  find(cookie: number): ExpectedReply | undefined;
  /** The whole reply has come; `reply.error` tells whether it succeeded. */
  complete(cookie: number, reply: ExpectedReply): void;
  /** The memory of this reply is no longer being filled by what is under way. */
  released(reply: ExpectedReply): void;
}

/** Payload below this is read together with what follows it and copied; above, read in place. */
const directBytes = 4 * KiB;

interface Payload {
  readonly cookie: number;
  readonly reply: ExpectedReply;
  readonly done: boolean;
  /** Position in the device. */
  position: number;
  left: number;
}

export class ReplyParser implements ByteSink {
  readonly #listener: ReplyListener;
  readonly #scratch = Buffer.allocUnsafe(directBytes);
  #collected: Buffer = Buffer.allocUnsafe(nbd.simpleReplyBytes);
  #have = 0;
  #next: (bytes: Buffer) => void = (bytes) => this.#onHeader(bytes);
  #payload: Payload | undefined;
  /** The request whose memory the latest window is. */
  #direct: ExpectedReply | undefined;

  constructor(listener: ReplyListener) {
    this.#listener = listener;
  }

  /** True while the peer's bytes may be written into this reply's memory at any moment. */
  isFilling(reply: ExpectedReply): boolean {
    return this.#direct === reply;
  }

  window(): Uint8Array {
    const payload = this.#payload;
    this.#direct = undefined;
    if (!payload?.reply.into || payload.left < directBytes) return this.#scratch;
    this.#direct = payload.reply;
    const start = payload.position - payload.reply.offset;
    return payload.reply.into.subarray(start, start + payload.left);
  }

  advance(count: number): void {
    const direct = this.#direct;
    if (!direct) {
      this.#consume(this.#scratch.subarray(0, count));
      return;
    }
    this.#direct = undefined;
    this.#payloadArrived(count);
    this.#listener.released(direct);
  }

  ended(): void {
    this.#direct = undefined;
  }

  #consume(bytes: Buffer): void {
    for (let done = 0; done < bytes.length; ) {
      done += this.#payload
        ? this.#copyPayload(this.#payload, bytes.subarray(done))
        : this.#collect(bytes.subarray(done));
    }
  }

  #copyPayload(payload: Payload, bytes: Buffer): number {
    const count = Math.min(bytes.length, payload.left);
    payload.reply.into?.set(bytes.subarray(0, count), payload.position - payload.reply.offset);
    this.#payloadArrived(count);
    return count;
  }

  #payloadArrived(count: number): void {
    const payload = this.#payload;
    if (!payload) return;
    payload.position += count;
    payload.left -= count;
    if (payload.left > 0) return;
    this.#payload = undefined;
    if (payload.done) this.#complete(payload.cookie, payload.reply);
  }

  #collect(bytes: Buffer): number {
    const count = Math.min(bytes.length, this.#collected.length - this.#have);
    bytes.copy(this.#collected, this.#have, 0, count);
    this.#have += count;
    if (this.#have === this.#collected.length) this.#next(this.#collected);
    return count;
  }

  /** Waits for `count` more bytes, which are appended to `kept`. */
  #await(count: number, next: (bytes: Buffer) => void, kept?: Buffer): void {
    const collected = Buffer.allocUnsafe(count + (kept?.length ?? 0));
    kept?.copy(collected);
    this.#collected = collected;
    this.#have = kept?.length ?? 0;
    this.#next = next;
  }

  #awaitHeader(): void {
    this.#await(nbd.simpleReplyBytes, (bytes) => this.#onHeader(bytes));
  }

  #onHeader(bytes: Buffer): void {
    if (this.#listener.structured && bytes.readUInt32BE(0) === nbd.NBD_STRUCTURED_REPLY_MAGIC) {
      const rest = nbd.chunkHeaderBytes - nbd.simpleReplyBytes;
      this.#await(rest, (whole) => this.#onChunk(nbd.parseChunkHeader(whole)), bytes);
      return;
    }
    nbd.expectMagic('reply', bytes.readUInt32BE(0), nbd.NBD_SIMPLE_REPLY_MAGIC);
    const { cookie, reply } = this.#lookUp(bytes.readBigUInt64BE(8));
    if (this.#listener.structured && reply.type === nbd.NBD_CMD_READ) {
      throw new ProtocolError(`${reply.doing}: a simple reply came where a structured one was negotiated`);
    }
    const error = bytes.readUInt32BE(4);
    if (error !== 0) reply.error = requestFailed(error, reply.doing, '');
    this.#awaitHeader();
    if (error === 0 && reply.type === nbd.NBD_CMD_READ) {
      reply.answeredBytes = reply.length;
      reply.answered.push({ offset: reply.offset, length: reply.length });
      this.#payload = { cookie, reply, done: true, position: reply.offset, left: reply.length };
    } else {
      this.#complete(cookie, reply);
    }
  }

  #lookUp(raw: bigint): { cookie: number; reply: ExpectedReply } {
    const cookie = Number(raw);
    const reply = this.#listener.find(cookie);
    if (!reply || BigInt(cookie) !== raw) {
      throw new ProtocolError(`NBD reply: cookie ${raw} belongs to no request that waits for an answer`);
    }
    return { cookie, reply };
  }

  #onChunk(header: nbd.ChunkHeader): void {
    const { cookie, reply } = this.#lookUp(header.cookie);
    const { type, length } = header;
    const done = (header.flags & nbd.NBD_REPLY_FLAG_DONE) !== 0;
    const wrongLength = (wanted: string) =>
      new ProtocolError(`${reply.doing}: a chunk of type ${type} has ${length} bytes, ${wanted} wanted`);
    const body = (then: (bytes: Buffer) => void) =>
      this.#await(length, (bytes) => {
        then(bytes);
        this.#awaitHeader();
        if (done) this.#complete(cookie, reply);
      });

    if ((type & nbd.NBD_REPLY_TYPE_FLAG_ERROR) !== 0) {
      if (length < 6 || length > nbd.limits.stringBytes + 14) throw wrongLength('6 to 4110');
      body((bytes) => this.#onError(reply, type, bytes));
    } else if (type === nbd.NBD_REPLY_TYPE_NONE) {
      if (!done || length !== 0) throw wrongLength('0 and the last flag');
      this.#awaitHeader();
      this.#complete(cookie, reply);
    } else if (type === nbd.NBD_REPLY_TYPE_OFFSET_DATA && reply.type === nbd.NBD_CMD_READ) {
      if (length <= 8 || length > 8 + reply.length) throw wrongLength(`9 to ${8 + reply.length}`);
      this.#await(8, (bytes) => {
        const position = this.#claim(reply, bytes.readBigUInt64BE(0), length - 8);
        this.#awaitHeader();
        this.#payload = { cookie, reply, done, position, left: length - 8 };
      });
    } else if (type === nbd.NBD_REPLY_TYPE_OFFSET_HOLE && reply.type === nbd.NBD_CMD_READ) {
      if (length !== 12) throw wrongLength('12');
      body((bytes) => this.#onHole(reply, bytes));
    } else if (type === nbd.NBD_REPLY_TYPE_BLOCK_STATUS && reply.type === nbd.NBD_CMD_BLOCK_STATUS) {
      const most = 4 + 8 * nbd.limits.statusEntries;
      if (length < 12 || length > most || length % 8 !== 4) throw wrongLength(`4 + 8n up to ${most}`);
      body((bytes) => onStatus(reply, bytes));
    } else {
      throw new ProtocolError(`${reply.doing}: a chunk of type ${type} does not answer this`);
    }
  }

  #onError(reply: ExpectedReply, type: number, bytes: Buffer): void {
    const textBytes = bytes.readUInt16BE(4);
    const rest = bytes.length - 6 - textBytes;
    if (rest < 0 || (type === nbd.NBD_REPLY_TYPE_ERROR && rest !== 0)) {
      throw new ProtocolError(`${reply.doing}: an error of ${bytes.length} bytes with text of ${textBytes}`);
    }
    const number = bytes.readUInt32BE(0);
    if (number === 0) throw new ProtocolError(`${reply.doing}: an error chunk without an error`);
    reply.error ??= requestFailed(number, reply.doing, bytes.toString('utf8', 6, 6 + textBytes));
  }

  #onHole(reply: ExpectedReply, bytes: Buffer): void {
    const length = bytes.readUInt32BE(8);
    if (length === 0) throw new ProtocolError(`${reply.doing}: a hole of 0 bytes`);
    const position = this.#claim(reply, bytes.readBigUInt64BE(0), length);
    const start = position - reply.offset;
    reply.into?.fill(0, start, start + length);
  }

  /** Notes that a part of a read is answered; raises unless it lies in the request and is new. */
  #claim(reply: ExpectedReply, rawOffset: bigint, length: number): number {
    const offset = Number(rawOffset);
    const end = reply.offset + reply.length;
    reply.answeredBytes += length;
    if (offset < reply.offset || offset + length > end || reply.answeredBytes > reply.length) {
      throw new ProtocolError(
        `${reply.doing}: bytes ${rawOffset}+${length} came, which were not asked for or came before`,
      );
    }
    const last = reply.answered.at(-1);
    if (last && last.offset + last.length === offset) last.length += length;
    else reply.answered.push({ offset, length });
    return offset;
  }

  #complete(cookie: number, reply: ExpectedReply): void {
    if (!reply.error && reply.type === nbd.NBD_CMD_READ) {
      const [only, more] = mergeRanges(reply.answered);
      if (reply.answeredBytes !== reply.length || only?.length !== reply.length || more) {
        throw new ProtocolError(
          `${reply.doing}: only ${reply.answeredBytes} of ${reply.length} bytes came, or some of them twice`,
        );
      }
    }
    this.#listener.complete(cookie, reply);
  }
}

function onStatus(reply: ExpectedReply, bytes: Buffer): void {
  const context = bytes.readUInt32BE(0);
  const status = (reply.status ??= new Map<number, StatusEntry[]>());
  if (status.has(context) || status.size >= 64) {
    throw new ProtocolError(`${reply.doing}: context ${context} was answered twice, or too many were`);
  }
  const entries: StatusEntry[] = [];
  for (let at = 4; at < bytes.length; at += 8) {
    const length = bytes.readUInt32BE(at);
    if (length === 0) throw new ProtocolError(`${reply.doing}: an extent of 0 bytes`);
    entries.push({ length, flags: bytes.readUInt32BE(at + 4) });
  }
  status.set(context, entries);
}
