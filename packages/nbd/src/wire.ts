/**
 * One byte stream to a peer: a plain socket or TLS over it.
 *
 * Received bytes go to a ByteSink, which says beforehand where it wants them. On a plain client socket
 * the operating system writes straight into that place, which may be the caller's (shared) memory:
 * a disk's bytes are never copied again in this process. TLS and accepted sockets copy once.
 */
import { connect as connectSocket, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { PrimaError, ProtocolError, RemoteError, systemErrorCode, toPrimaError } from '@prima/base';

/** Takes what a peer sends. */
export interface ByteSink {
  /** Where the next bytes are to be put: at least one byte. Asked for again after every `advance`. */
  window(): Uint8Array;
  /** `count` bytes were put at the start of the latest window. What it raises ends the connection. */
  advance(count: number): void;
  /** The connection is over; called once. */
  ended(error: PrimaError): void;
}

/** Where an NBD server listens. */
export type NbdTarget = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** `nbd+unix socket /run/x` or `nbd server host:port`, for messages. */
export function describeTarget(target: NbdTarget): string {
  return 'socketPath' in target
    ? `the NBD server at ${target.socketPath}`
    : `the NBD server at ${target.host}:${target.port}`;
}

/** Puts `bytes` into a sink, window by window. */
export function feed(sink: ByteSink, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) {
    const window = sink.window();
    const count = Math.min(window.length, bytes.length - done);
    window.set(bytes.subarray(done, done + count));
    sink.advance(count);
    done += count;
  }
}

export class Wire {
  readonly peer: string;
  #socket: Socket;
  #sink: ByteSink;
  #window: Uint8Array;
  #windowOwner: ByteSink;
  #failure: PrimaError | undefined;
  /** Resolves when the socket is closed for good. */
  readonly closed: Promise<void>;
  readonly #onClosed: () => void;

  private constructor(peer: string, sink: ByteSink, open: (wire: Wire) => Socket, buffered: boolean) {
    this.peer = peer;
    this.#sink = sink;
    this.#window = sink.window();
    this.#windowOwner = sink;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#onClosed = resolve;
    this.#socket = open(this);
    this.#attach(this.#socket, buffered);
  }

  /** Begins to connect; bytes go straight into the sink's windows unless `buffered` (needed before TLS). */
  static connect(target: NbdTarget, sink: ByteSink, options: { buffered: boolean }): Wire {
    const address = 'socketPath' in target ? { path: target.socketPath } : { ...target };
    const open = (wire: Wire) => {
      const onread = {
        buffer: () => wire.#nextWindow(),
        callback: (count: number) => wire.#received(count),
      };
      // the types know only a fixed buffer; a function is documented and called before each read
      const direct = options.buffered ? {} : { onread: onread as unknown as undefined };
      return connectSocket({ ...address, ...direct, noDelay: true });
    };
    return new Wire(describeTarget(target), sink, open, options.buffered);
  }

  /** Wraps a socket that a server accepted. */
  static accept(socket: Socket, peer: string, sink: ByteSink): Wire {
    return new Wire(peer, sink, () => socket, true);
  }

  #attach(socket: Socket, buffered: boolean): void {
    this.#socket = socket;
    if (buffered) socket.on('data', (bytes: Buffer) => this.#receivedCopy(bytes));
    socket.on('error', (error) => this.destroy(connectionError(error, this.peer)));
    socket.on('end', () => this.destroy(connectionLost(this.peer, 'it closed the connection')));
    socket.on('close', () => {
      this.destroy(connectionLost(this.peer, 'the connection was closed'));
      this.#onClosed();
    });
  }

  /** Resolves when the socket is connected; raises what ended it otherwise. */
  async opened(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.once('connect', resolve);
    await Promise.race([promise, this.closed]);
    if (this.#failure) throw this.#failure;
  }

  /** Replaces the socket by the TLS socket that `wrap` makes around it. */
  async secure(wrap: (plain: Socket) => TLSSocket | Promise<TLSSocket>): Promise<void> {
    if (this.#failure) throw this.#failure;
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('end');
    plain.pause();
    const { promise, reject } = Promise.withResolvers<never>();
    void this.closed.then(() => reject(this.#failure));
    const socket = await Promise.race([wrap(plain), promise]);
    this.#attach(socket, true);
  }

  /** From now on bytes go to `sink`. */
  setSink(sink: ByteSink): void {
    this.#sink = sink;
    if (this.#failure) sink.ended(this.#failure);
  }

  get failure(): PrimaError | undefined {
    return this.#failure;
  }

  /** Bytes handed to `write` that the operating system has not taken yet. */
  get queuedBytes(): number {
    return this.#socket.writableLength;
  }

  /** Sends the pieces in order; `sent` is called when none of them is needed any more. */
  write(pieces: readonly Uint8Array[], sent?: () => void): void {
    if (this.#failure) {
      sent?.();
      return;
    }
    this.#socket.cork();
    pieces.forEach((piece, index) => {
      this.#socket.write(piece, index === pieces.length - 1 && sent ? () => sent() : undefined);
    });
    this.#socket.uncork();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#failure) this.#socket.resume();
  }

  /** Ends the connection at once; nothing is read into any window after this returns. */
  destroy(error: PrimaError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#socket.destroy();
    this.#sink.ended(error);
  }

  /** Sends what is queued, then closes; destroyed by force after `graceMs`. */
  async end(error: PrimaError, graceMs: number): Promise<void> {
    if (!this.#failure) {
      this.#failure = error;
      this.#socket.end(() => this.#socket.destroy());
      this.#sink.ended(error);
    }
    const timer = setTimeout(() => this.#socket.destroy(), graceMs);
    await this.closed;
    clearTimeout(timer);
  }

  #nextWindow(): Uint8Array {
    this.#windowOwner = this.#sink;
    this.#window = this.#failure ? Buffer.allocUnsafe(4096) : this.#sink.window();
    return this.#window;
  }

  #received(count: number): boolean {
    if (this.#failure) return true; // closing: what still comes has no meaning
    // the sink may have been replaced after it named the window that was filled
    if (this.#windowOwner === this.#sink) this.#guard(() => this.#sink.advance(count));
    else this.#receivedCopy(this.#window.subarray(0, count));
    return true;
  }

  #receivedCopy(bytes: Uint8Array): void {
    if (!this.#failure) this.#guard(() => feed(this.#sink, bytes));
  }

  #guard(take: () => void): void {
    try {
      take();
    } catch (error) {
      this.destroy(toPrimaError(error, `reading from ${this.peer}`));
    }
  }
}

function connectionLost(peer: string, why: string): PrimaError {
  return new RemoteError(`lost ${peer}: ${why}`, { retryable: true });
}

function connectionError(error: Error, peer: string): PrimaError {
  const system = systemErrorCode(error);
  if (system === 'ENOENT') {
    return new PrimaError('not-found', `${peer}: there is no such socket`, { cause: error });
  }
  if (system === 'EACCES' || system === 'EPERM') {
    return new PrimaError('permission', `${peer}: access denied`, { cause: error });
  }
  if (system === undefined && 'code' in error && String(error.code).startsWith('ERR_')) {
    return new ProtocolError(`${peer}: ${error.message}`, { cause: error });
  }
  return new RemoteError(`${peer}: ${error.message}`, { retryable: true, cause: error });
}
