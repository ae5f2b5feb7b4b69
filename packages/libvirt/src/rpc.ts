/**
 * Calls over one connection: each has a deadline and can be cancelled, a bounded number is with the daemon at once and the
 * others wait in order. When the connection is lost all of them end with an error that says so. Events and streams
 * are given to who registered for them.
 */
import type { Duplex } from 'node:stream';
import {
  PrimaError,
  ProtocolError,
  RemoteError,
  Semaphore,
  throwIfAborted,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import type { Procedure } from './calls/procedure.ts';
import { errorMessage, LibvirtError } from './errors.ts';
import { type Message, MessageStatus, MessageType } from './message.ts';
import { RpcStream } from './stream.ts';
import { type KeepAliveOptions, Wire } from './wire.ts';
import { decode, encode } from './xdr.ts';

export interface CallOptions {
  /** Deadline in milliseconds, with the time that the call waits for its turn. Default 60 s. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

const defaultTimeoutMs = 60_000;

/**
 * A daemon reads no more than `max_client_requests` (5) calls of a client ahead. One of them is left for keep-alive, which
 * it would not see otherwise.
 */
const outstandingLimit = 4;
const waitingLimit = 1000;
const lastSerial = 2 ** 31 - 1;

interface Outstanding {
  /** Of the call, for messages. */
  readonly name: string;
  readonly program: number;
  readonly procedure: number;
  settle(answer: Message | PrimaError): void;
}

/** @param name of the procedure, for messages */
export interface NamedCall<Args, Reply> {
  readonly name: string;
  readonly procedure: Procedure<Args, Reply>;
  readonly args: Args;
}

export class RpcConnection {
  readonly #wire: Wire;
  readonly #gate = new Semaphore(outstandingLimit);
  readonly #outstanding = new Map<number, Outstanding>();
  readonly #streams = new Map<number, RpcStream<unknown>>();
  readonly #events = new Map<string, (payload: Buffer) => void>();
  readonly #onEnd = new Set<(error: PrimaError) => void>();
  #waiting = 0;
  #serial = 0;

  /** @param peer who is at the other end, for messages: "qemu+ssh://host.example/system" */
  constructor(stream: Duplex, peer: string) {
    this.#wire = new Wire(stream, peer, {
      onMessage: (message) => this.#receive(message),
      onEnd: (error) => this.#end(error),
    });
  }

  get peer(): string {
    return this.#wire.peer;
  }

  get failure(): PrimaError | undefined {
    return this.#wire.failure;
  }

  startKeepAlive(options: KeepAliveOptions): void {
    this.#wire.startKeepAlive(options);
  }

  /** Calls `listener` once when the connection is over. The result takes it away again. */
  onEnd(listener: (error: PrimaError) => void): () => void {
    if (this.failure) listener(this.failure);
    else this.#onEnd.add(listener);
    return () => void this.#onEnd.delete(listener);
  }

  /** Events of this kind go to `listener`; those that nobody listens to are dropped. */
  onEvent(program: number, procedure: number, listener: (payload: Buffer) => void): void {
    this.#events.set(`${program} ${procedure}`, listener);
  }

  /**
   * Raises what the daemon refuses as `LibvirtError`, `remote` when the connection is or gets lost, `timeout`, `cancelled`.
   * After the last two the daemon may still carry the call out; its late answer is ignored.
   * @param onReply called with the answer before any later message is looked at
   */
  async call<Args, Reply>(
    call: NamedCall<Args, Reply>,
    options: CallOptions = {},
    onReply?: (reply: Reply) => void,
  ): Promise<Reply> {
    const payload = encode(call.procedure.args, call.args);
    return await this.#withDeadline(call.name, options, async (signal) => {
      const release = await this.#turn(call.name, signal);
      return await this.#exchange(call, { serial: this.#nextSerial(), payload, release, onReply });
    });
  }

  /** Opens a stream; raises as `call` does. */
  async openStream<Args, Reply>(
    call: NamedCall<Args, Reply>,
    options: CallOptions = {},
  ): Promise<RpcStream<Reply>> {
    const { name, procedure } = call;
    const payload = encode(procedure.args, call.args);
    return await this.#withDeadline(name, options, async (signal) => {
      const release = await this.#turn(name, signal);
      const serial = this.#nextSerial();
      const stream = new RpcStream<Reply>(this.#wire, {
        name,
        header: { program: procedure.program, procedure: procedure.number, serial },
        forget: () => void this.#streams.delete(serial),
      });
      // the daemon may begin to send before it answers
      this.#streams.set(serial, stream);
      const onReply = (reply: Reply) => stream.opened(reply);
      const discard = () => stream.discard(); // nobody waits for it any more
      signal.addEventListener('abort', discard, { once: true });
      try {
        await this.#exchange(call, { serial, payload, release, onReply });
      } catch (error) {
        stream.ended(toPrimaError(error, name));
        throw error;
      } finally {
        signal.removeEventListener('abort', discard);
      }
      if (signal.aborted) await stream.abort();
      return stream;
    });
  }

  /** Ends the connection; what still waits raises `remote`. May be called again. */
  async close(): Promise<void> {
    this.#wire.fail(new RemoteError(`the connection to ${this.peer} was closed`));
    await this.#wire.closed;
  }

  async #withDeadline<T>(
    name: string,
    { timeoutMs = defaultTimeoutMs, signal }: CallOptions,
    task: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    try {
      return await withDeadline(timeoutMs, `${name} at ${this.peer}`, task, signal);
    } catch (error) {
      if (error instanceof RemoteError && error.code === 'timeout') throw this.#explainTimeout(error);
      throw error;
    }
  }

  /** A deadline may have passed because others are in the way: that is said. */
  #explainTimeout(error: RemoteError): RemoteError {
    const busy = [...this.#outstanding.values()].map(({ name }) => name);
    if (busy.length === 0) return error;
    return new RemoteError(`${error.message}; the daemon still has ${busy.join(', ')} to answer`, {
      code: 'timeout',
      retryable: true,
      cause: error,
      details: { outstanding: busy },
    });
  }

  /** Waits for a place among the calls that are with the daemon. Gives the function that leaves it. */
  async #turn(name: string, signal: AbortSignal): Promise<() => void> {
    if (this.#waiting >= waitingLimit) {
      const text = `${name} at ${this.peer}: ${waitingLimit} calls are waiting already`;
      throw new RemoteError(text, { retryable: true });
    }
    this.#waiting += 1;
    const release = await this.#gate.acquire();
    this.#waiting -= 1;
    try {
      throwIfAborted(signal, `${name} at ${this.peer}`);
      if (this.failure) throw this.failure;
      return release;
    } catch (error) {
      release();
      throw error;
    }
  }

  #nextSerial(): number {
    do this.#serial = this.#serial === lastSerial ? 1 : this.#serial + 1;
    while (this.#outstanding.has(this.#serial) || this.#streams.has(this.#serial));
    return this.#serial;
  }

  #exchange<Args, Reply>(call: NamedCall<Args, Reply>, exchange: Exchange<Reply>): Promise<Reply> {
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const { serial, payload, release, onReply } = exchange;
    const { program, number } = call.procedure;
    this.#outstanding.set(serial, {
      name: call.name,
      program,
      procedure: number,
      settle: (answer) => {
        this.#outstanding.delete(serial);
        release();
        try {
          const reply = this.#replyOf(call, answer);
          onReply?.(reply);
          resolve(reply);
        } catch (error) {
          reject(error);
        }
      },
    });
    const { CALL: type } = MessageType;
    this.#wire.send({ program, procedure: number, type, serial, status: MessageStatus.OK }, payload);
    return promise;
  }

  /** A reply that cannot be read fails its call only: where the next message begins is known. */
  #replyOf<Args, Reply>({ name, procedure }: NamedCall<Args, Reply>, answer: Message | PrimaError): Reply {
    if (answer instanceof PrimaError) throw answer;
    const doing = `${name} at ${this.peer}`;
    try {
      if (answer.status === MessageStatus.OK) return decode(procedure.reply, answer.payload);
      throw new LibvirtError(doing, decode(errorMessage, answer.payload));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      throw new ProtocolError(`${doing}: the answer is not as it should be: ${error.message}`, {
        cause: error,
        details: error.details,
      });
    }
  }

  #receive(message: Message): void {
    const { type, program, procedure, serial, payload } = message;
    if (type === MessageType.EVENT) this.#events.get(`${program} ${procedure}`)?.(payload);
    else if (type === MessageType.REPLY) this.#answer(message);
    // one that is not known has been given up: the daemon may have sent more before it knew
    else if (type === MessageType.STREAM || type === MessageType.STREAM_HOLE) {
      this.#streams.get(serial)?.receive(message);
    } else
      throw new ProtocolError(`a message of type ${type} for procedure ${procedure}, which no client gets`);
  }

  #answer(message: Message): void {
    const { program, procedure, serial } = message;
    const waiting = this.#outstanding.get(serial);
    if (!waiting) {
      const stream = this.#streams.get(serial);
      if (!stream) throw new ProtocolError(`an answer to the call ${serial}, which does not wait for one`);
      stream.receive(message); // a hole that the daemon did not like
    } else if (waiting.program !== program || waiting.procedure !== procedure) {
      throw new ProtocolError(`an answer to procedure ${procedure} where ${waiting.procedure} was called`);
    } else waiting.settle(message);
  }

  #end(error: PrimaError): void {
    for (const waiting of this.#outstanding.values()) waiting.settle(error);
    for (const stream of this.#streams.values()) stream.ended(error);
    for (const listener of this.#onEnd) listener(error);
    this.#onEnd.clear();
    this.#events.clear();
  }
}

interface Exchange<Reply> {
  serial: number;
  payload: Buffer;
  /** Leaves the call's place; called when it is answered. */
  release: () => void;
  /** Called with the answer before any later message is looked at. */
  onReply?: ((reply: Reply) => void) | undefined;
}
