/**
 * One connection in the transmission phase: sends requests, pairs replies with them. Bounded by count
 * and bytes; what does not fit waits in order. When the peer lies, goes away or falls
 * silent, the connection is torn down and every request fails with the reason.
 */
import { type PrimaError, RemoteError, throwIfAborted, toPrimaError } from '@prima/base';
import type { ByteReader } from './byte-reader.ts';
import type { Negotiated } from './handshake.ts';
import * as nbd from './protocol.ts';
import { type ExpectedReply, ReplyParser } from './reply-parser.ts';
import { type GateLimits, RequestGate } from './request-gate.ts';
import type { Wire } from './wire.ts';

export interface ConnectionOptions {
  /** The connection fails when nothing came or went for this long while a request waits. */
  requestTimeoutMs: number;
  /** What may be under way at once. */
  inFlight: GateLimits;
}

export interface Command {
  type: number;
  flags?: number;
  offset: number;
  length: number;
  /** What is being done, to whom, for messages. */
  doing: string;
  /** A write's bytes; not changed by anybody until the command has ended. */
  payload?: Uint8Array;
  /** A read's place; not used by anybody until the command has ended. */
  into?: Uint8Array;
  signal?: AbortSignal | undefined;
}

interface Outstanding extends ExpectedReply {
  readonly sentAt: number;
  /** The socket may still read from the payload. */
  sending: boolean;
  /** Why the caller no longer wants an answer. */
  abandoned?: PrimaError;
  settle(error?: PrimaError): void;
  /** Gives the request's place back; an abandoned one keeps it until its answer has come. */
  release(): void;
}

/** What a request without payload weighs when the idlest connection is looked for. */
const requestLoad = 4096;
/** How long an aborted request may take to let go of the caller's memory. */
const releaseTimeoutMs = 2000;
/** One request may take this many times the request timeout while others are answered. */
const patience = 10;

export class NbdConnection {
  readonly negotiated: Negotiated;
  readonly #wire: Wire;
  readonly #options: ConnectionOptions;
  readonly #gate: RequestGate;
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #parser: ReplyParser;
  #lastCookie = 0;
  #lastProgress = 0;
  #timer: NodeJS.Timeout | undefined;
  /** Payload asked for and not yet answered, waiting requests included, and a bit for each request. */
  load = 0;

  constructor(wire: Wire, reader: ByteReader, negotiated: Negotiated, options: ConnectionOptions) {
    this.negotiated = negotiated;
    this.#wire = wire;
    this.#options = options;
    this.#gate = new RequestGate(options.inFlight);
    this.#parser = new ReplyParser({
      structured: negotiated.structured,
      find: (cookie) => this.#outstanding.get(cookie),
      complete: (cookie) => this.#complete(cookie),
      released: (reply) => this.#released(reply as Outstanding),
    });
    wire.setSink({
      window: () => this.#parser.window(),
      advance: (count) => {
        this.#lastProgress = performance.now();
        this.#parser.advance(count);
      },
      ended: (error) => this.#ended(error),
    });
    reader.moveTo(this.#parser);
  }

  /** Why the connection is over, or undefined while it lives. */
  get failure(): PrimaError | undefined {
    return this.#wire.failure;
  }

  /**
   * Runs one command to its end. Raises the server's error, what ended the connection, or `cancelled`;
   * in every case the command's memory is no longer in use then.
   */
  async run(command: Command): Promise<ExpectedReply> {
    const bytes = command.into?.length ?? command.payload?.length ?? 0;
    const load = bytes + requestLoad;
    throwIfAborted(command.signal, command.doing);
    this.load += load;
    let leave = () => undefined as void;
    const release = () => {
      this.load -= load;
      leave();
    };
    try {
      leave = await this.#gate.enter(bytes, command.signal);
      throwIfAborted(command.signal, command.doing);
      if (this.#wire.failure) throw failed(command.doing, this.#wire.failure);
    } catch (error) {
      release();
      throw error;
    }
    return await this.#exchange(command, release);
  }

  /** Says goodbye and closes; requests under way fail. May be called again. */
  async close(): Promise<void> {
    const reason = new RemoteError(`${this.#wire.peer}: the connection was closed by Prima`);
    if (this.#outstanding.size > 0) this.#wire.destroy(reason); // nothing is read into their memory then
    const goodbye = { flags: 0, type: nbd.NBD_CMD_DISC, cookie: 0n, offset: 0n, length: 0 };
    this.#wire.write([nbd.writeRequest(goodbye)]);
    await this.#wire.end(reason, 1000);
  }

  destroy(error: PrimaError): void {
    this.#wire.destroy(error);
  }

  async #exchange(command: Command, release: () => void): Promise<ExpectedReply> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const now = performance.now();
    const request: Outstanding = {
      type: command.type,
      offset: command.offset,
      length: command.length,
      doing: command.doing,
      into: command.into,
      answered: [],
      answeredBytes: 0,
      sentAt: now,
      sending: command.payload !== undefined,
      settle: (error) => (error ? reject(error) : resolve()),
      release,
    };
    if (this.#outstanding.size === 0) this.#lastProgress = now;
    this.#lastCookie += 1;
    this.#outstanding.set(this.#lastCookie, request);
    this.#watch();
    this.#send(command, request, this.#lastCookie);
    const onAbort = () => this.#abandon(request, toPrimaError(command.signal?.reason, command.doing));
    command.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
      return request;
    } finally {
      command.signal?.removeEventListener('abort', onAbort);
    }
  }

  #send(command: Command, request: Outstanding, cookie: number): void {
    const header = nbd.writeRequest({
      flags: command.flags ?? 0,
      type: command.type,
      cookie: BigInt(cookie),
      offset: BigInt(command.offset),
      length: command.length,
    });
    this.#wire.write(command.payload ? [header, command.payload] : [header], () => {
      this.#lastProgress = performance.now();
      request.sending = false;
      this.#released(request);
    });
  }

  #complete(cookie: number): void {
    const request = this.#outstanding.get(cookie);
    if (!request) return;
    this.#outstanding.delete(cookie);
    request.release();
    request.settle(request.abandoned ?? request.error);
  }

  /** The caller gave up: it hears so as soon as nothing touches its memory any more. */
  #abandon(request: Outstanding, reason: PrimaError): void {
    request.abandoned = reason;
    this.#released(request);
    if (!request.sending && !this.#parser.isFilling(request)) return;
    const timer = setTimeout(() => {
      const held = request.sending || this.#parser.isFilling(request);
      if (held && [...this.#outstanding.values()].includes(request)) this.#wire.destroy(reason);
    }, releaseTimeoutMs);
    timer.unref();
  }

  #released(request: Outstanding): void {
    if (!request.abandoned || request.sending || this.#parser.isFilling(request)) return;
    request.into = undefined;
    request.settle(request.abandoned);
  }

  #ended(error: PrimaError): void {
    clearTimeout(this.#timer);
    this.#parser.ended();
    const requests = [...this.#outstanding.values()];
    this.#outstanding.clear();
    for (const request of requests) {
      request.release();
      request.settle(request.abandoned ?? failed(request.doing, error));
    }
  }

  /** Looks at the oldest request whenever its time may be up. */
  #watch(afterMs = this.#options.requestTimeoutMs): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#checkDeadline();
    }, afterMs);
    this.#timer.unref();
  }

  #checkDeadline(): void {
    const oldest = this.#outstanding.values().next().value;
    if (!oldest) return;
    const { requestTimeoutMs } = this.#options;
    const now = performance.now();
    const waitedMs = now - oldest.sentAt;
    const silentMs = now - Math.max(this.#lastProgress, oldest.sentAt);
    if (silentMs < requestTimeoutMs && waitedMs < patience * requestTimeoutMs) {
      this.#watch(Math.ceil(requestTimeoutMs - silentMs));
      return;
    }
    const text = `${oldest.doing}: no answer within ${Math.round(waitedMs) / 1000} s`;
    this.#wire.destroy(new RemoteError(text, { code: 'timeout', retryable: true }));
  }
}

/** The same failure, said for one request of several. */
function failed(doing: string, cause: PrimaError): PrimaError {
  if (cause.code === 'timeout' && cause.message.startsWith(doing)) return cause;
  const code = cause.code === 'timeout' ? 'timeout' : 'remote';
  if (cause.code === 'protocol' || cause.code === 'cancelled') return cause;
  return new RemoteError(`${doing}: ${cause.message}`, { code, retryable: true, cause });
}
