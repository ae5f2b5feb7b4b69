/** A socket that carries JSON lines; QMP and the guest agent are built on it. */
import type { Socket } from 'node:net';
import { ProtocolError, type PrimaError, RemoteError, toPrimaError } from '@prima/base';
import { type JsonLineOptions, type JsonObject, JsonLineParser } from './json-lines.ts';

export interface JsonConnectionEvents {
  onMessage(message: JsonObject): void;
  /** Called once, when nothing more will come; `error` says why. */
  onEnd(error: PrimaError): void;
}

/**
 * Owns `socket`. What `onMessage` raises ends the connection. Nothing is read before `start`, so that
 * no message is lost between connecting and listening.
 */
export class JsonConnection {
  /** Resolves (never rejects) when the socket is gone, whatever the reason. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #peer: string;
  readonly #parser: JsonLineParser;
  #events: JsonConnectionEvents | undefined;
  #failure: PrimaError | undefined;

  /** @param peer names the other end in messages: "the QMP monitor at /run/a.qmp" */
  constructor(socket: Socket, peer: string, options: JsonLineOptions = {}) {
    this.#socket = socket;
    this.#peer = peer;
    this.#parser = new JsonLineParser(options);
    this.closed = socket.closed
      ? Promise.resolve()
      : new Promise((resolve) => {
          socket.once('close', () => resolve());
        });
    socket.on('error', (error) =>
      this.fail(new RemoteError(`${peer}: connection lost: ${error.message}`, { cause: error })),
    );
    const onGone = () => this.fail(new RemoteError(`${peer} closed the connection`, { retryable: true }));
    socket.on('close', onGone);
    if (socket.destroyed) onGone();
  }

  start(events: JsonConnectionEvents): void {
    this.#events = events;
    if (this.#failure) events.onEnd(this.#failure);
    this.#socket.on('data', (bytes: Buffer) => this.#receive(bytes));
  }

  /** Why the connection has ended, or undefined while it lives. */
  get failure(): PrimaError | undefined {
    return this.#failure;
  }

  send(bytes: string | Uint8Array): void {
    if (this.#failure) throw this.#failure;
    this.#socket.write(bytes);
  }

  /** Ends the connection for a reason, which everything that waits is told. The first reason stays. */
  fail(error: PrimaError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#socket.destroy();
    this.#events?.onEnd(error);
  }

  /** Ends the connection and waits until the socket is gone. May be called again. */
  async close(): Promise<void> {
    this.fail(new RemoteError(`the connection to ${this.#peer} was closed`));
    await this.closed;
  }

  #receive(bytes: Uint8Array): void {
    if (this.#failure) return;
    try {
      for (const message of this.#parser.push(bytes)) {
        this.#events?.onMessage(message);
        if (this.failure) return;
      }
    } catch (error) {
      this.fail(
        error instanceof ProtocolError
          ? new ProtocolError(`${this.#peer}: ${error.message}`, { cause: error })
          : toPrimaError(error, `handling a message of ${this.#peer}`),
      );
    }
  }
}
