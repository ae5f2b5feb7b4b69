/**
 * A client of the QEMU Machine Protocol (docs/interop/qmp-spec of QEMU): greeting, capabilities,
 * commands with ids, events. Works with `qemu-system-*` and `qemu-storage-daemon` alike.
 */
import {
  connectUnix,
  type PrimaError,
  ProtocolError,
  RemoteError,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import { JsonConnection } from './json-connection.ts';
import { isJsonObject, type JsonObject } from './json-lines.ts';

export interface CallOptions {
  /** Deadline in milliseconds. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface QmpVersion {
  major: number;
  minor: number;
  micro: number;
  /** The distributor's name for it: "Debian 1:7.2+dfsg-7". */
  package: string;
}

/** Fields of an event's `data`; empty where the event has none. */
export type QmpEventData = Record<string, unknown>;

/** @param timestampMs wall time at QEMU's, milliseconds since 1970 */
export type QmpListener = (data: QmpEventData, timestampMs: number) => void;

export interface QmpClient {
  readonly version: QmpVersion;
  /** Resolves, never rejects, when the connection has ended, whatever the reason. */
  readonly closed: Promise<void>;
  /**
   * Runs a command and gives its return value (integers above 2^53 lose their last bits).
   * Raises `remote` with QEMU's `class` and `desc` in `details`, `remote` when the connection is or gets
   * lost, `timeout` (default 30 s), `cancelled`. After the last two QEMU may still carry out the command;
   * its late answer is ignored.
   */
  execute<T = unknown>(command: string, args?: object, options?: CallOptions): Promise<T>;
  /** Calls `listener` at every `event` from now on; the result ends that. A listener must not raise. */
  on(event: string, listener: QmpListener): () => void;
  /**
   * The data of the next `event` that `predicate` likes. Call it before the command that causes the
   * event. Default deadline 30 s. Raises `timeout`, `cancelled`, or `remote` when the connection ends.
   */
  waitFor(
    event: string,
    predicate?: (data: QmpEventData) => boolean,
    options?: CallOptions,
  ): Promise<QmpEventData>;
  /** Ends the connection; what still waits raises `remote`. May be called again. */
  close(): Promise<void>;
}

/**
 * Connects to the QMP monitor at a unix socket (a path of any length) and negotiates.
 * A monitor serves one client at a time and lets others wait without a word: that ends in `timeout`.
 * Raises `remote` when nobody listens, `protocol` for anything but a QMP greeting. Default deadline 10 s.
 */
export async function connectQmp(socketPath: string, options: CallOptions = {}): Promise<QmpClient> {
  const { timeoutMs = 10_000, signal } = options;
  const peer = `the QMP monitor at ${socketPath}`;
  let connection: JsonConnection | undefined;
  try {
    return await withDeadline(
      timeoutMs,
      `connecting to ${peer}`,
      async (inner) => {
        const socket = await connectUnix(socketPath, { timeoutMs, signal: inner });
        connection = new JsonConnection(socket, peer);
        if (inner.aborted) await connection.close();
        return negotiate(connection, peer, timeoutMs);
      },
      signal,
    );
  } catch (error) {
    await connection?.close();
    throw explainTimeout(error, peer, timeoutMs);
  }
}

async function negotiate(connection: JsonConnection, peer: string, timeoutMs: number): Promise<QmpClient> {
  const greeting = Promise.withResolvers<QmpVersion>();
  const client = new Client(connection, peer, greeting);
  const version = await greeting.promise;
  await client.execute('qmp_capabilities', {}, { timeoutMs });
  client.version = version;
  return client;
}

function explainTimeout(error: unknown, peer: string, timeoutMs: number): PrimaError {
  const failure = toPrimaError(error, `connecting to ${peer}`);
  if (failure.code !== 'timeout') return failure;
  return new RemoteError(
    `${peer} did not greet within ${timeoutMs / 1000} s: another client may be connected to it ` +
      `(a monitor serves one at a time), or QEMU hangs`,
    { code: 'timeout', retryable: true, cause: error },
  );
}

interface Waiting {
  command: string;
  resolve(value: unknown): void;
  reject(error: PrimaError): void;
}

/** Commands that may wait for an answer at once, those given up included. */
const waitingLimit = 1024;

class Client implements QmpClient {
  version: QmpVersion = { major: 0, minor: 0, micro: 0, package: '' };
  readonly closed: Promise<void>;
  readonly #connection: JsonConnection;
  readonly #peer: string;
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<string, Set<QmpListener>>();
  readonly #onEnd = new Set<(error: PrimaError) => void>();
  #greeting: PromiseWithResolvers<QmpVersion> | undefined;
  #nextId = 1;

  constructor(connection: JsonConnection, peer: string, greeting: PromiseWithResolvers<QmpVersion>) {
    this.#connection = connection;
    this.#peer = peer;
    this.#greeting = greeting;
    this.#onEnd.add((error) => greeting.reject(error));
    this.closed = connection.closed;
    connection.start({
      onMessage: (message) => this.#receive(message),
      onEnd: (error) => this.#end(error),
    });
  }

  execute<T = unknown>(command: string, args?: object, options: CallOptions = {}): Promise<T> {
    const { timeoutMs = 30_000, signal } = options;
    return withDeadline(
      timeoutMs,
      `running ${command} through ${this.#peer}`,
      () => this.#call(command, args) as Promise<T>,
      signal,
    );
  }

  on(event: string, listener: QmpListener): () => void {
    const own: QmpListener = (data, timestampMs) => listener(data, timestampMs);
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(own));
    return () => {
      listeners.delete(own);
    };
  }

  waitFor(
    event: string,
    predicate: (data: QmpEventData) => boolean = () => true,
    options: CallOptions = {},
  ): Promise<QmpEventData> {
    const { timeoutMs = 30_000, signal } = options;
    const happened = Promise.withResolvers<QmpEventData>();
    const stop = this.on(event, (data) => {
      if (predicate(data)) happened.resolve(data);
    });
    const onEnd = (error: PrimaError) => happened.reject(error);
    if (this.#connection.failure) onEnd(this.#connection.failure);
    this.#onEnd.add(onEnd);
    const result = withDeadline(
      timeoutMs,
      `waiting for event ${event} from ${this.#peer}`,
      () => happened.promise,
      signal,
    ).finally(() => {
      stop();
      this.#onEnd.delete(onEnd);
    });
    happened.promise.catch(() => undefined); // told through `result`
    result.catch(() => undefined); // the caller awaits it after the command that causes the event
    return result;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  #call(command: string, args: object | undefined): Promise<unknown> {
    if (this.#waiting.size >= waitingLimit) {
      throw new RemoteError(`${this.#peer} has left ${waitingLimit} commands without an answer`);
    }
    const id = this.#nextId++;
    this.#connection.send(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { command, resolve, reject });
    });
  }

  #receive(message: JsonObject): void {
    if (this.#greeting) {
      this.#greeting.resolve(parseGreeting(message));
      this.#greeting = undefined;
    } else if (typeof message.event === 'string') this.#announce(message.event, message);
    else if ('return' in message || 'error' in message) this.#answer(message);
    else throw new ProtocolError(`a message that is no answer and no event (keys ${keysOf(message)})`);
  }

  #announce(event: string, message: JsonObject): void {
    const data = isJsonObject(message.data) ? message.data : {};
    for (const listener of this.#listeners.get(event) ?? []) listener(data, timestampOf(message));
  }

  #answer(message: JsonObject): void {
    const id = typeof message.id === 'number' ? message.id : undefined;
    const waiting = id === undefined ? undefined : this.#waiting.get(id);
    if (id === undefined || !waiting) {
      const found = id === undefined ? 'without an id' : `to the unknown id ${id}`;
      throw new ProtocolError(`an answer ${found}: ${JSON.stringify(message.error ?? {}).slice(0, 200)}`);
    }
    this.#waiting.delete(id);
    if ('error' in message) waiting.reject(commandError(this.#peer, waiting.command, message.error));
    else waiting.resolve(message.return);
  }

  #end(error: PrimaError): void {
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    for (const onEnd of this.#onEnd) onEnd(error);
    this.#onEnd.clear();
    this.#listeners.clear();
  }
}

/** The error for an answer's `error` member; shared with the guest agent, which answers alike. */
export function commandError(peer: string, command: string, error: unknown): PrimaError {
  const fields = isJsonObject(error) ? error : {};
  const desc = typeof fields.desc === 'string' ? fields.desc : 'no description';
  const className = typeof fields.class === 'string' ? fields.class : 'unknown class';
  return new RemoteError(`${peer} refused ${command}: ${desc} (${className})`, {
    details: { class: className, desc, command },
  });
}

function parseGreeting(message: JsonObject): QmpVersion {
  const hello = isJsonObject(message.QMP) ? message.QMP : undefined;
  const version = isJsonObject(hello?.version) ? hello.version : undefined;
  const qemu = isJsonObject(version?.qemu) ? version.qemu : undefined;
  const { major, minor, micro } = qemu ?? {};
  if (typeof major !== 'number' || typeof minor !== 'number' || typeof micro !== 'number') {
    throw new ProtocolError(`a message with keys ${keysOf(message)} came where a QMP greeting was wanted`);
  }
  return { major, minor, micro, package: typeof version?.package === 'string' ? version.package : '' };
}

function timestampOf(message: JsonObject): number {
  const stamp = isJsonObject(message.timestamp) ? message.timestamp : {};
  const { seconds, microseconds } = stamp;
  return typeof seconds === 'number' && typeof microseconds === 'number'
    ? seconds * 1000 + Math.floor(microseconds / 1000)
    : 0;
}

function keysOf(message: JsonObject): string {
  return JSON.stringify(Object.keys(message).slice(0, 8)).slice(0, 200);
}
