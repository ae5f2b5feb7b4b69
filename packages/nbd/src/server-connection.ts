/**
 * One client of the server in the transmission phase. Bounded: at most 16 requests run at once and
 * requests hold at most 64 MiB (plus the one that is just arriving); beyond that the client's socket is
 * not read. Answers wait for the client to take them.
 */
import { assertWithin, KiB, type Logger, MiB, type PrimaError, RemoteError, toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import type { ByteReader } from './byte-reader.ts';
import { errorNumber } from './error-codes.ts';
import * as nbd from './protocol.ts';
import { RequestParser } from './request-parser.ts';
import { allocationContext, type Session } from './server-handshake.ts';
import type { Wire } from './wire.ts';

const mostRunning = 16;
const mostBytes = 64 * MiB;
/** Large reads are answered in pieces of this size. */
const pieceBytes = 1 * MiB;
const mostFree = 8;
const mostStatusEntries = 64 * KiB;

interface Pending {
  request: nbd.Request;
  payload: Buffer | undefined;
  bytes: number;
}

export class ServerConnection {
  readonly #wire: Wire;
  readonly #device: BlockDevice;
  readonly #session: Session;
  readonly #logger: Logger;
  readonly #queue: Pending[] = [];
  /** Pieces that are free to be read into: making new ones for each keeps the garbage collector busy. */
  readonly #free: Buffer[] = [];
  readonly #gone = new AbortController();
  #running = 0;
  #bytes = 0;
  #paused = false;
  #leaving = false;
  #idle = Promise.withResolvers<void>();

  constructor(wire: Wire, session: Session, logger: Logger) {
    this.#wire = wire;
    this.#session = session;
    this.#device = session.export.device;
    this.#logger = logger;
  }

  /** Serves until the client leaves; resolves when the device is no longer used for it. */
  async run(reader: ByteReader): Promise<void> {
    const parser = new RequestParser({
      allocate: (request) => (this.#refusal(request) ? undefined : Buffer.allocUnsafeSlow(request.length)),
      request: (request, payload) => this.#accept(request, payload),
    });
    this.#wire.setSink({
      window: () => parser.window(),
      advance: (count) => parser.advance(count),
      ended: (error) => {
        parser.ended();
        this.#gone.abort(error);
        this.#leave();
      },
    });
    reader.moveTo(parser);
    await this.#idle.promise;
  }

  #leave(): void {
    this.#leaving = true;
    if (this.#wire.failure) this.#queue.length = 0;
    if (this.#running === 0 && this.#queue.length === 0) this.#idle.resolve();
  }

  #accept(request: nbd.Request, payload: Buffer | undefined): void {
    if (request.type === nbd.NBD_CMD_DISC) {
      this.#leave();
      return;
    }
    const bytes = payload?.length ?? this.#replyBytes(request);
    this.#bytes += bytes;
    this.#queue.push({ request, payload, bytes });
    this.#pump();
  }

  /** Memory that the answer takes: a structured read is streamed with two pieces under way. */
  #replyBytes(request: nbd.Request): number {
    if (request.type === nbd.NBD_CMD_BLOCK_STATUS) return 8 * mostStatusEntries;
    if (request.type !== nbd.NBD_CMD_READ) return 0;
    const whole = Math.min(request.length, nbd.limits.payloadBytes);
    return this.#session.structured ? Math.min(whole, 2 * pieceBytes) : whole;
  }

  #pump(): void {
    while (this.#running < mostRunning) {
      const next = this.#queue.shift();
      if (!next) break;
      this.#running += 1;
      void this.#serve(next);
    }
    const full = this.#queue.length > 0 || this.#bytes >= mostBytes;
    if (full !== this.#paused) {
      this.#paused = full;
      if (full) this.#wire.pause();
      else this.#wire.resume();
    }
  }

  async #serve({ request, payload, bytes }: Pending): Promise<void> {
    const name = `${nbd.commandName(request.type)} ${request.offset}+${request.length}`;
    try {
      const refusal = this.#refusal(request);
      if (refusal) await this.#fail(request, refusal.number, refusal.text);
      else await this.#run(request, payload);
    } catch (error) {
      const failure = toPrimaError(error, name);
      if (!this.#wire.failure) {
        this.#logger.warn(`${name} of "${this.#session.export.name}" failed: ${failure.message}`);
        await this.#fail(request, errorNumber(failure), failure.message);
      }
    } finally {
      this.#running -= 1;
      this.#bytes -= bytes;
      this.#pump();
      if (this.#leaving) this.#leave();
    }
  }

  /** Why a request cannot be, or undefined when it can. */
  #refusal(request: nbd.Request): { number: number; text: string } | undefined {
    const { type, flags } = request;
    const writes =
      type === nbd.NBD_CMD_WRITE || type === nbd.NBD_CMD_TRIM || type === nbd.NBD_CMD_WRITE_ZEROES;
    const allowed = allowedFlags[type];
    const invalid = (text: string) => ({ number: nbd.NBD_EINVAL, text });
    if (allowed === undefined) return invalid(`${nbd.commandName(type)} is not known`);
    if ((flags & ~allowed) !== 0) return invalid(`flags 0x${flags.toString(16)} are not known here`);
    if (writes && !this.#session.export.writable) {
      return { number: nbd.NBD_EPERM, text: 'the export is read-only' };
    }
    if (type === nbd.NBD_CMD_BLOCK_STATUS && (!this.#session.allocation || request.length === 0)) {
      return invalid('block status needs base:allocation and a length');
    }
    if (type === nbd.NBD_CMD_READ && request.length > nbd.limits.payloadBytes) {
      return { number: nbd.NBD_EOVERFLOW, text: 'more than 32 MiB in one read' };
    }
    if (type !== nbd.NBD_CMD_FLUSH && request.offset + BigInt(request.length) > BigInt(this.#device.size)) {
      const number = writes ? nbd.NBD_ENOSPC : nbd.NBD_EINVAL;
      return { number, text: `the export ends at ${this.#device.size}` };
    }
    return undefined;
  }

  async #run(request: nbd.Request, payload: Buffer | undefined): Promise<void> {
    const range = { offset: Number(request.offset), length: request.length };
    assertWithin(request.type === nbd.NBD_CMD_FLUSH ? { offset: 0, length: 0 } : range, this.#device.size);
    switch (request.type) {
      case nbd.NBD_CMD_READ:
        return await (this.#session.structured ? this.#readPieces(request) : this.#readWhole(request));
      case nbd.NBD_CMD_BLOCK_STATUS:
        return await this.#status(request);
      case nbd.NBD_CMD_WRITE:
        if (payload) await this.#device.write?.(range.offset, payload);
        break;
      case nbd.NBD_CMD_WRITE_ZEROES:
        await ((request.flags & nbd.NBD_CMD_FLAG_NO_HOLE) === 0
          ? this.#device.zero?.(range)
          : this.#writeZeros(range.offset, range.length));
        break;
      case nbd.NBD_CMD_TRIM:
        await this.#device.zero?.(range);
        break;
      case nbd.NBD_CMD_FLUSH:
        await this.#device.flush?.();
        break;
      default: // NBD_CMD_CACHE: advice that is not taken
    }
    if ((request.flags & nbd.NBD_CMD_FLAG_FUA) !== 0) await this.#device.flush?.();
    await this.#send([nbd.writeSimpleReply(request.cookie, 0)]);
  }

  async #writeZeros(offset: number, length: number): Promise<void> {
    const zeros = new Uint8Array(Math.min(length, pieceBytes));
    for (let done = 0; done < length; done += zeros.length) {
      await this.#device.write?.(offset + done, zeros.subarray(0, length - done));
    }
  }

  async #readWhole(request: nbd.Request): Promise<void> {
    const bytes = Buffer.allocUnsafeSlow(request.length);
    await this.#device.read(Number(request.offset), bytes, this.#gone.signal);
    await this.#send([nbd.writeSimpleReply(request.cookie, 0), bytes]);
  }

  /** Structured: the next piece is read while the one before goes out. */
  async #readPieces(request: nbd.Request): Promise<void> {
    const { cookie, length } = request;
    const start = Number(request.offset);
    let sent = Promise.resolve();
    for (let done = 0; done < length; ) {
      const count = Math.min(pieceBytes, length - done);
      const memory = this.#free.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
      const bytes = memory.subarray(0, count);
      await this.#device.read(start + done, bytes, this.#gone.signal);
      await sent;
      const flags = done + count === length ? nbd.NBD_REPLY_FLAG_DONE : 0;
      sent = this.#send(readChunk({ flags, cookie, offset: start + done, bytes })).then(() =>
        this.#keep(memory),
      );
      done += count;
    }
    if (length === 0) sent = this.#send([nothing(cookie)]);
    await sent;
  }

  /** Memory that the socket has taken; of a client that is gone the kernel may still look at it. */
  #keep(memory: Buffer): void {
    if (!this.#gone.signal.aborted && this.#free.length < mostFree) this.#free.push(memory);
  }

  async #status(request: nbd.Request): Promise<void> {
    const range = { offset: Number(request.offset), length: request.length };
    const most = (request.flags & nbd.NBD_CMD_FLAG_REQ_ONE) === 0 ? mostStatusEntries : 1;
    const entries: { length: number; flags: number }[] = [];
    for await (const { length, kind } of this.#device.extents(range, { signal: this.#gone.signal })) {
      const zero = kind === 'data' ? 0 : nbd.NBD_STATE_ZERO;
      entries.push({ length, flags: kind === 'hole' ? zero | nbd.NBD_STATE_HOLE : zero });
      if (entries.length === most) break;
    }
    const length = 4 + 8 * entries.length;
    const type = nbd.NBD_REPLY_TYPE_BLOCK_STATUS;
    const header = { flags: nbd.NBD_REPLY_FLAG_DONE, type, cookie: request.cookie, length };
    const bytes = nbd.writeChunkHeader(header, length);
    bytes.writeUInt32BE(allocationContext, nbd.chunkHeaderBytes);
    entries.forEach((entry, index) => {
      bytes.writeUInt32BE(entry.length, nbd.chunkHeaderBytes + 4 + 8 * index);
      bytes.writeUInt32BE(entry.flags, nbd.chunkHeaderBytes + 8 + 8 * index);
    });
    await this.#send([bytes]);
  }

  async #fail(request: nbd.Request, number: number, text: string): Promise<void> {
    const { cookie } = request;
    if (!this.#session.structured) return await this.#send([nbd.writeSimpleReply(cookie, number)]);
    const words = Buffer.from(text).subarray(0, nbd.limits.stringBytes);
    const length = 6 + words.length;
    const chunk = { flags: nbd.NBD_REPLY_FLAG_DONE, type: nbd.NBD_REPLY_TYPE_ERROR, cookie, length };
    const bytes = nbd.writeChunkHeader(chunk, length);
    bytes.writeUInt32BE(number, nbd.chunkHeaderBytes);
    bytes.writeUInt16BE(words.length, nbd.chunkHeaderBytes + 4);
    bytes.set(words, nbd.chunkHeaderBytes + 6);
    await this.#send([bytes]);
  }

  /** Resolves when the client's socket has taken the bytes, or is gone. */
  async #send(pieces: readonly Uint8Array[]): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wire.write(pieces, resolve);
    await promise;
  }
}

const { NBD_CMD_FLAG_FUA: FUA, NBD_CMD_FLAG_NO_HOLE: NO_HOLE, NBD_CMD_FLAG_REQ_ONE: REQ_ONE } = nbd;

/** The flags that each command may carry. */
const allowedFlags: Partial<Record<number, number>> = {
  [nbd.NBD_CMD_READ]: FUA,
  [nbd.NBD_CMD_WRITE]: FUA,
  [nbd.NBD_CMD_FLUSH]: FUA,
  [nbd.NBD_CMD_TRIM]: FUA,
  [nbd.NBD_CMD_CACHE]: FUA,
  [nbd.NBD_CMD_WRITE_ZEROES]: FUA | NO_HOLE,
  [nbd.NBD_CMD_BLOCK_STATUS]: FUA | REQ_ONE,
};

interface ReadPiece {
  flags: number;
  cookie: bigint;
  offset: number;
  bytes: Buffer;
}

const zeros = Buffer.alloc(pieceBytes);

/** Zeros are told, not sent: a client that copies a disk reads through its holes. */
function readChunk({ flags, cookie, offset, bytes }: ReadPiece): Buffer[] {
  const isZero = bytes.equals(zeros.subarray(0, bytes.length));
  const type = isZero ? nbd.NBD_REPLY_TYPE_OFFSET_HOLE : nbd.NBD_REPLY_TYPE_OFFSET_DATA;
  const length = isZero ? 12 : 8 + bytes.length;
  const header = nbd.writeChunkHeader({ flags, type, cookie, length }, isZero ? 12 : 8);
  header.writeBigUInt64BE(BigInt(offset), nbd.chunkHeaderBytes);
  if (!isZero) return [header, bytes];
  header.writeUInt32BE(bytes.length, nbd.chunkHeaderBytes + 8);
  return [header];
}

function nothing(cookie: bigint): Buffer {
  const type = nbd.NBD_REPLY_TYPE_NONE;
  return nbd.writeChunkHeader({ flags: nbd.NBD_REPLY_FLAG_DONE, type, cookie, length: 0 });
}

/** What a connection that the server ends is told. */
export function serverClosed(peer: string): PrimaError {
  return new RemoteError(`${peer}: the server was closed`, { retryable: true });
}
