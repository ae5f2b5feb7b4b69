/**
 * A stream that a call has opened: data and holes from the daemon, or to it, then a finish that both sides agree on. What has
 * arrived and is not taken is bounded: beyond that the connection is not read until somebody takes it, and its
 * other calls wait, too. Long transfers are best given a connection of their own.
 */
import { assert, type PrimaError, ProtocolError, RemoteError, withDeadline } from '@prima/base';
import { errorMessage, LibvirtError } from './errors.ts';
import { type Message, MessageStatus, MessageType, streamPayloadBytes } from './message.ts';
import type { CallOptions } from './rpc.ts';
import type { Wire } from './wire.ts';
import { decode, encode, safeInt64, struct, uint32 } from './xdr.ts';

/** What arrives: bytes, or so many zeros that were not sent. */
export type StreamPiece = { readonly data: Uint8Array } | { readonly holeBytes: number };

const heldLimitBytes = 4 * 1024 * 1024;
/** The same before the daemon has answered the call: its answer comes behind what it has sent, so we have to go on reading. */
const earlyLimitBytes = 64 * 1024 * 1024;
/** What a piece counts for besides its bytes, so that a daemon cannot fill memory with holes and single bytes. */
const pieceWeightBytes = 64;
const idleTimeoutMs = 60_000;

const hole = struct({ length: safeInt64, flags: uint32 });

export interface StreamOptions {
  /** Of the call that opened it, for messages. */
  name: string;
  header: { program: number; procedure: number; serial: number };
  /** Called once, when no more messages are wanted. */
  forget(): void;
}

export class RpcStream<Reply> {
  readonly #wire: Wire;
  readonly #options: StreamOptions;
  /** Resolves when the daemon has confirmed the end, or ended it itself. */
  readonly #confirmed = Promise.withResolvers<void>();
  readonly #pieces: StreamPiece[] = [];
  #reply: Reply | undefined;
  #isOpen = false;
  #isUnwanted = false;
  #heldBytes = 0;
  #letGo: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #atEnd = false;
  /** Finish or abort has been sent, or the daemon or the connection has ended it. */
  #isOver = false;
  /** Nothing more will come. */
  #isSettled = false;
  #failure: PrimaError | undefined;

  constructor(wire: Wire, options: StreamOptions) {
    this.#wire = wire;
    this.#options = options;
  }

  /** What the call answered that opened the stream. */
  get reply(): Reply {
    return this.#reply as Reply;
  }

  /**
   * The next piece, undefined at the end. One reader at a time. Raises what the daemon says, `remote` when the connection
   * is lost, `timeout` when nothing comes (default 60 s), `cancelled`; a piece is not lost by the last two.
   */
  async read(options: CallOptions = {}): Promise<StreamPiece | undefined> {
    return await this.#withDeadline('reading', options, (signal) => this.next(signal));
  }

  /** As `read`, for streams that may be silent for ever: a console. */
  async next(signal?: AbortSignal): Promise<StreamPiece | undefined> {
    while (this.#pieces.length === 0 && !this.#atEnd && !this.#isOver) await this.#woken();
    if (signal?.aborted) return undefined; // nobody waits for it any more
    const piece = this.#pieces.shift();
    if (piece) this.#taken(piece);
    else if (this.#failure) throw this.#failure;
    else if (!this.#atEnd) throw this.#failed('the stream was ended before its end');
    return piece;
  }

  /** All bytes to the end, then the finish; who stops early aborts. Raises `protocol` when there are holes: see `pieces`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const piece of this.pieces()) {
      if (!('data' in piece)) throw this.#failed('a hole came where none was asked for');
      yield piece.data;
    }
  }

  /** The same with the holes, for streams that were opened with the flag for sparse ones. */
  async *pieces(options: CallOptions = {}): AsyncGenerator<StreamPiece> {
    try {
      for (;;) {
        const piece = await this.read(options);
        if (piece === undefined) break;
        yield piece;
      }
      await this.finish(options);
    } finally {
      if (!this.#isOver) await this.abort();
    }
  }

  /** Sends bytes of any number; resolves when more may follow. Raises as `read` does. */
  async write(bytes: Uint8Array, options: CallOptions = {}): Promise<void> {
    for (let at = 0; at < bytes.length; at += streamPayloadBytes) {
      this.#checkOpen();
      const piece = bytes.subarray(at, at + streamPayloadBytes);
      await this.#send(MessageType.STREAM, MessageStatus.CONTINUE, piece, options);
    }
  }

  /** Skips so many bytes, above 0; only in streams that were opened with the flag for sparse ones. */
  async writeHole(bytes: number, options: CallOptions = {}): Promise<void> {
    assert(bytes > 0, `a hole of ${bytes} bytes is one`);
    this.#checkOpen();
    const payload = encode(hole, { length: bytes, flags: 0 });
    await this.#send(MessageType.STREAM_HOLE, MessageStatus.CONTINUE, payload, options);
  }

  /** All has been sent or read: resolves when the daemon has confirmed it. Raises as `read` does. */
  async finish(options: CallOptions = {}): Promise<void> {
    this.#checkOpen();
    await this.#endWith(MessageStatus.OK, options);
  }

  /** Gives it up; resolves when the daemon knows. Whatever it answers, the stream is over. May be called again. */
  async abort(options: CallOptions = {}): Promise<void> {
    if (this.#isOver) return;
    await this.#endWith(MessageStatus.ERROR, options).catch((error: unknown) => {
      if (!(error instanceof LibvirtError)) throw error;
    });
  }

  /** For the connection: the call has been answered. */
  opened(reply: Reply): void {
    this.#reply = reply;
    this.#isOpen = true;
    this.#bound();
  }

  /** For the connection: nobody waits for it any more, but it cannot be aborted before the call has been answered. */
  discard(): void {
    this.#isUnwanted = true;
    this.#pieces.length = 0;
    this.#heldBytes = 0;
  }

  /** For the connection: a message of this stream, or an error that answers one of ours. Raises `protocol`. */
  receive(message: Message): void {
    if (message.status === MessageStatus.ERROR) {
      this.ended(new LibvirtError(this.#doing('using'), decode(errorMessage, message.payload)));
    } else if (message.status === MessageStatus.OK) this.#settle();
    else if (this.#isOver || this.#isUnwanted) return;
    else if (message.type === MessageType.STREAM_HOLE) {
      this.#hold({ holeBytes: decode(hole, message.payload).length });
    } else if (message.payload.length === 0) {
      this.#atEnd = true;
      this.#wake?.();
    } else this.#hold({ data: message.payload });
  }

  /** For the connection: it is over. */
  ended(error: PrimaError): void {
    if (this.#isSettled) return;
    this.#failure = error;
    this.#settle();
  }

  async #woken(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    await promise;
  }

  #hold(piece: StreamPiece): void {
    this.#pieces.push(piece);
    this.#heldBytes += weightOf(piece);
    this.#bound();
    this.#wake?.();
  }

  #bound(): void {
    if (!this.#isOpen && this.#heldBytes > earlyLimitBytes) {
      throw new ProtocolError(`the stream of ${this.#options.name} comes without an answer to the call`);
    }
    if (this.#isOpen && this.#heldBytes > heldLimitBytes) this.#letGo ??= this.#wire.hold();
  }

  #taken(piece: StreamPiece): void {
    this.#heldBytes -= weightOf(piece);
    if (this.#heldBytes < heldLimitBytes / 2) this.#listenAgain();
  }

  #listenAgain(): void {
    this.#letGo?.();
    this.#letGo = undefined;
  }

  async #send(type: number, status: number, payload: Uint8Array, options: CallOptions): Promise<void> {
    if (this.#wire.send({ ...this.#options.header, type, status }, payload)) return;
    await this.#withDeadline('writing', options, () => this.#wire.drained());
    this.#checkOpen();
  }

  async #endWith(status: number, options: CallOptions): Promise<void> {
    this.#isOver = true;
    this.#pieces.length = 0;
    this.#listenAgain();
    this.#wire.send({ ...this.#options.header, type: MessageType.STREAM, status }, new Uint8Array());
    await this.#withDeadline('ending', options, () => this.#confirmed.promise);
    if (this.#failure) throw this.#failure;
  }

  #settle(): void {
    this.#isOver = true;
    this.#isSettled = true;
    this.#listenAgain();
    this.#options.forget();
    this.#confirmed.resolve();
    this.#wake?.();
  }

  #checkOpen(): void {
    if (this.#failure) throw this.#failure;
    if (this.#isOver) throw this.#failed('it has been ended already');
  }

  async #withDeadline<T>(
    what: string,
    options: CallOptions,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { timeoutMs = idleTimeoutMs, signal } = options;
    return await withDeadline(timeoutMs, this.#doing(what), task, signal);
  }

  #failed(why: string): RemoteError {
    return new RemoteError(`${this.#doing('using')}: ${why}`);
  }

  #doing(what: string): string {
    return `${what} the stream of ${this.#options.name} at ${this.#wire.peer}`;
  }
}

function weightOf(piece: StreamPiece): number {
  return pieceWeightBytes + ('data' in piece ? piece.data.length : 0);
}
