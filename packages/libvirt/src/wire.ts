/**
 * What calls and streams stand on: messages over a byte stream, and keep-alive (virkeepaliveprotocol.x). A peer that is
 * silent although it was asked is taken for dead.
 */
import type { Duplex } from 'node:stream';
import { type PrimaError, ProtocolError, RemoteError, toPrimaError } from '@prima/base';
import { programs } from './calls/procedure.ts';
import {
  type Message,
  type MessageHeader,
  MessageParser,
  MessageStatus,
  MessageType,
  writeMessage,
} from './message.ts';

const KeepAlive = { PING: 1, PONG: 2 } as const;

export interface KeepAliveOptions {
  /** A peer that was silent for so long is asked. Default 5 s, as libvirt's. */
  intervalMs: number;
  /** After so many questions without a sign of life it is given up. Default 5. */
  count: number;
}

export interface WireEvents {
  onMessage(message: Message): void;
  onEnd(error: PrimaError): void;
}

export class Wire {
  /** Who is at the other end, for messages: "qemu+ssh://host.example/system". */
  readonly peer: string;
  /** Resolves when the byte stream is gone. */
  readonly closed: Promise<void>;
  readonly #stream: Duplex;
  readonly #parser = new MessageParser();
  readonly #events: WireEvents;
  #failure: PrimaError | undefined;
  #draining: Promise<void> | undefined;
  #drained: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lastHeard = performance.now();
  #unanswered = 0;
  /** How many streams hold more than they may: nothing is read from the daemon until they are taken from. */
  #holding = 0;

  constructor(stream: Duplex, peer: string, events: WireEvents) {
    this.peer = peer;
    this.#stream = stream;
    this.#events = events;
    this.closed = new Promise((resolve) => stream.once('close', resolve));
    stream.on('data', (bytes: Buffer) => this.#receive(bytes));
    stream.on('error', (error) => this.fail(this.#lost(error.message, error)));
    stream.on('drain', () => this.#drained?.());
    stream.on('end', () => this.fail(this.#lost('the daemon closed it')));
    stream.on('close', () => this.fail(this.#lost('it was closed')));
  }

  /** Why it is over, or undefined while it lives. */
  get failure(): PrimaError | undefined {
    return this.#failure;
  }

  /** Sends a message; true when more may follow at once, false when `drained` should be awaited first. */
  send(header: MessageHeader, payload: Uint8Array): boolean {
    if (this.#failure) return true;
    return this.#stream.write(writeMessage(header, payload));
  }

  /** Resolves when what was sent has left, and when the connection has ended. */
  async drained(): Promise<void> {
    if (this.#failure || !this.#stream.writableNeedDrain) return;
    this.#draining ??= new Promise((resolve) => {
      this.#drained = () => {
        this.#draining = undefined;
        resolve();
      };
    });
    await this.#draining;
  }

  /** Nothing more is read until the function that it returns is called, once. */
  hold(): () => void {
    this.#holding += 1;
    this.#stream.pause();
    return () => {
      this.#holding -= 1;
      this.#lastHeard = performance.now();
      if (this.#holding === 0) this.#stream.resume();
    };
  }

  /** From now on the peer is asked for a sign of life; only for one that answers. */
  startKeepAlive({ intervalMs, count }: KeepAliveOptions): void {
    const look = () => {
      if (performance.now() - this.#lastHeard < intervalMs) return;
      if (this.#unanswered >= count) {
        this.fail(
          this.#lost(`no sign of life for ${Math.round((performance.now() - this.#lastHeard) / 1000)} s`),
        );
        return;
      }
      // the daemon wants a sign of life, too, while we do not listen or it does not read
      if (this.#holding === 0 && !this.#stream.writableNeedDrain) this.#unanswered += 1;
      this.#sendKeepAlive(KeepAlive.PING);
    };
    this.#timer ??= setInterval(look, intervalMs);
    this.#timer.unref();
  }

  /** Ends it; everything that waits is told. The first reason stays. */
  fail(error: PrimaError): void {
    if (this.#failure) return;
    this.#failure = error;
    clearInterval(this.#timer);
    this.#stream.destroy();
    this.#drained?.();
    this.#events.onEnd(error);
  }

  #lost(reason: string, cause?: unknown): RemoteError {
    return new RemoteError(`the connection to ${this.peer} was lost: ${reason}`, { retryable: true, cause });
  }

  #receive(bytes: Buffer): void {
    if (this.#failure) return;
    this.#lastHeard = performance.now();
    this.#unanswered = 0;
    try {
      for (const message of this.#parser.push(bytes)) {
        if (message.program === programs.keepalive) this.#answerKeepAlive(message);
        else this.#events.onMessage(message);
        if (this.failure) return;
      }
    } catch (error) {
      this.fail(
        error instanceof ProtocolError
          ? new ProtocolError(`${this.peer} sends what libvirt does not: ${error.message}`, { cause: error })
          : toPrimaError(error, `handling a message of ${this.peer}`),
      );
    }
  }

  #answerKeepAlive({ procedure, type }: Message): void {
    if (type === MessageType.EVENT && procedure === KeepAlive.PING) this.#sendKeepAlive(KeepAlive.PONG);
  }

  #sendKeepAlive(procedure: number): void {
    const { keepalive: program } = programs;
    this.send(
      { program, procedure, type: MessageType.EVENT, serial: 0, status: MessageStatus.OK },
      Buffer.alloc(0),
    );
  }
}
