/**
 * A client of the QEMU guest agent (docs/interop/qemu-ga.rst of QEMU), which listens at the far end of
 * a serial line: it may not be there at all, and answers meant for an earlier client may still come.
 * Therefore every conversation starts with 0xFF and `guest-sync-delimited`, commands go one by one, and
 * after a command without an answer the line is synchronised anew.
 */
import { randomInt } from 'node:crypto';
import {
  connectUnix,
  PrimaError,
  ProtocolError,
  RemoteError,
  Semaphore,
  systemClock,
  throwIfAborted,
  toPrimaError,
  withDeadline,
} from '@prima/base';
import { JsonConnection } from './json-connection.ts';
import { isJsonObject, type JsonObject } from './json-lines.ts';
import { type CallOptions, commandError } from './qmp.ts';

export interface GuestExecOptions extends CallOptions {
  /** Given to the program's standard input. */
  input?: string | Uint8Array;
}

export interface GuestExecResult {
  /** Exit status; 128 + the signal's number where a signal ended the program, as a shell says it. */
  status: number;
  stdout: string;
  stderr: string;
}

export interface GuestInfo {
  version: string;
  /** Names of the commands that this agent carries out. */
  commands: string[];
}

/** What `guest-get-osinfo` tells; a field is absent where the guest does not know it. */
export interface GuestOsInfo {
  id?: string;
  name?: string;
  prettyName?: string;
  version?: string;
  kernelRelease?: string;
  machine?: string;
}

/**
 * Every call raises `timeout` ("the guest agent does not answer"), `remote` for an error that the agent
 * answered (its class and desc in `details`) or a lost connection, `protocol`, `cancelled`.
 * Calls wait for each other; the deadline includes that. Default deadline 10 s.
 */
export interface GuestAgent {
  /** Resolves, never rejects, when the connection has ended. */
  readonly closed: Promise<void>;
  ping(options?: CallOptions): Promise<void>;
  info(options?: CallOptions): Promise<GuestInfo>;
  execute<T = unknown>(command: string, args?: object, options?: CallOptions): Promise<T>;
  /**
   * Freezes the guest's file systems and tells how many. When it fails or is cancelled it thaws before
   * it raises; where that has no answer either the message says so, and the caller tries `thaw` again.
   * @param timeoutMs freezing flushes the guest's caches first: give it a minute (the default)
   */
  freeze(timeoutMs?: number, signal?: AbortSignal): Promise<number>;
  /** Thaws them and tells how many; 0 when none were frozen. May be repeated. */
  thaw(options?: CallOptions): Promise<number>;
  freezeStatus(options?: CallOptions): Promise<'thawed' | 'frozen'>;
  /** Runs a program in the guest to its end and collects its output. Default deadline 60 s. */
  exec(path: string, args?: readonly string[], options?: GuestExecOptions): Promise<GuestExecResult>;
  osInfo(options?: CallOptions): Promise<GuestOsInfo>;
  /** Ends the connection. May be called again. */
  close(): Promise<void>;
}

/**
 * Connects to the agent's unix socket (a path of any length) and synchronises; default deadline 10 s.
 * Raises `timeout` when no agent answers: none is installed, the guest still boots or hangs, or
 * another client is connected.
 */
export async function connectGuestAgent(socketPath: string, options: CallOptions = {}): Promise<GuestAgent> {
  const { timeoutMs = 10_000, signal } = options;
  const peer = `the guest agent at ${socketPath}`;
  const started = systemClock.monotonic();
  const socket = await connectUnix(socketPath, { timeoutMs, signal });
  const agent = new Agent(new JsonConnection(socket, peer, { resync: true }), peer);
  try {
    const left = Math.max(1, timeoutMs - (systemClock.monotonic() - started));
    await agent.ping({ timeoutMs: left, signal });
    return agent;
  } catch (error) {
    await agent.close();
    throw error;
  }
}

class Agent implements GuestAgent {
  readonly closed: Promise<void>;
  readonly #connection: JsonConnection;
  readonly #peer: string;
  readonly #turn = new Semaphore(1);
  #synchronised = false;
  #waiting: { onMessage(message: JsonObject): void; reject(error: PrimaError): void } | undefined;

  constructor(connection: JsonConnection, peer: string) {
    this.#connection = connection;
    this.#peer = peer;
    this.closed = connection.closed;
    connection.start({
      onMessage: (message) => this.#waiting?.onMessage(message), // nobody waits: a stray answer
      onEnd: (error) => this.#waiting?.reject(error),
    });
  }

  async execute<T = unknown>(command: string, args?: object, options: CallOptions = {}): Promise<T> {
    const { timeoutMs = 10_000, signal } = options;
    try {
      return (await withDeadline(
        timeoutMs,
        `asking ${this.#peer} (${command})`,
        (inner) => this.#turn.run(() => this.#converse(command, args, inner)),
        signal,
      )) as T;
    } catch (error) {
      const failure = toPrimaError(error, `asking ${this.#peer} (${command})`);
      if (failure.code !== 'timeout') throw failure;
      throw new RemoteError(
        `${this.#peer}: the guest agent does not answer (${command}, within ${timeoutMs / 1000} s)`,
        { code: 'timeout', retryable: true, cause: error, details: { command } },
      );
    }
  }

  async ping(options?: CallOptions): Promise<void> {
    await this.execute('guest-ping', undefined, options);
  }

  async info(options?: CallOptions): Promise<GuestInfo> {
    const answer = await this.execute('guest-info', undefined, options);
    const { version, supported_commands: commands } = this.#object('guest-info', answer);
    const enabled = Array.isArray(commands)
      ? commands.filter((entry): entry is JsonObject => isJsonObject(entry) && entry.enabled !== false)
      : [];
    return { version: String(version), commands: enabled.map((entry) => String(entry.name)) };
  }

  async freeze(timeoutMs = 60_000, signal?: AbortSignal): Promise<number> {
    try {
      const answer = await this.execute('guest-fsfreeze-freeze', undefined, { timeoutMs, signal });
      return this.#count('guest-fsfreeze-freeze', answer);
    } catch (error) {
      throw await this.#thawAfter(toPrimaError(error, `freezing through ${this.#peer}`));
    }
  }

  async thaw(options?: CallOptions): Promise<number> {
    return this.#count('guest-fsfreeze-thaw', await this.execute('guest-fsfreeze-thaw', undefined, options));
  }

  async freezeStatus(options?: CallOptions): Promise<'thawed' | 'frozen'> {
    const answer = await this.execute('guest-fsfreeze-status', undefined, options);
    if (answer === 'thawed' || answer === 'frozen') return answer;
    throw this.#unexpected('guest-fsfreeze-status', answer, '"thawed" or "frozen"');
  }

  async exec(
    path: string,
    args: readonly string[] = [],
    options: GuestExecOptions = {},
  ): Promise<GuestExecResult> {
    const { timeoutMs = 60_000, signal, input } = options;
    return withDeadline(
      timeoutMs,
      `running ${path} in the guest through ${this.#peer}`,
      async (inner) => {
        const call = { timeoutMs, signal: inner };
        const request = {
          path,
          arg: args,
          'capture-output': true,
          ...(input === undefined ? {} : { 'input-data': Buffer.from(input).toString('base64') }),
        };
        const { pid } = this.#object('guest-exec', await this.execute('guest-exec', request, call));
        for (let pauseMs = 10; ; pauseMs = Math.min(250, pauseMs * 2)) {
          const answer = await this.execute('guest-exec-status', { pid }, call);
          const status = this.#object('guest-exec-status', answer);
          if (status.exited === true) return execResult(status);
          await systemClock.sleep(pauseMs, inner);
        }
      },
      signal,
    );
  }

  async osInfo(options?: CallOptions): Promise<GuestOsInfo> {
    const answer = this.#object(
      'guest-get-osinfo',
      await this.execute('guest-get-osinfo', undefined, options),
    );
    const text = (key: string) => (typeof answer[key] === 'string' ? answer[key] : undefined);
    return {
      id: text('id'),
      name: text('name'),
      prettyName: text('pretty-name'),
      version: text('version'),
      kernelRelease: text('kernel-release'),
      machine: text('machine'),
    };
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #converse(command: string, args: object | undefined, signal: AbortSignal): Promise<unknown> {
    throwIfAborted(signal, `asking ${this.#peer}`);
    if (!this.#synchronised) await this.#synchronise(signal);
    this.#synchronised = false; // until the answer is here
    const request = JSON.stringify({ execute: command, arguments: args });
    const answer = await this.#exchange(Buffer.from(`${request}\n`), () => true, signal);
    this.#synchronised = true;
    if ('error' in answer) throw commandError(this.#peer, command, answer.error);
    return answer.return;
  }

  /**
   * Half a command of an earlier client may lie in the agent's buffer: 0xFF makes its parser start anew.
   * Answers to others, and the agent's complaint about that half, come before ours: skipped.
   */
  async #synchronise(signal: AbortSignal): Promise<void> {
    const id = randomInt(1, 2 ** 31);
    const request = JSON.stringify({ execute: 'guest-sync-delimited', arguments: { id } });
    const bytes = Buffer.concat([Buffer.from([0xff]), Buffer.from(`${request}\n`)]);
    await this.#exchange(bytes, (message) => message.return === id, signal);
  }

  #exchange(
    request: Uint8Array,
    wanted: (message: JsonObject) => boolean,
    signal: AbortSignal,
  ): Promise<JsonObject> {
    return new Promise<JsonObject>((resolve, reject) => {
      const settle = () => {
        this.#waiting = undefined;
        signal.removeEventListener('abort', onAbort);
      };
      const fail = (error: PrimaError) => {
        settle();
        reject(error);
      };
      const onAbort = () => fail(toPrimaError(signal.reason, `asking ${this.#peer}`));
      const onMessage = (message: JsonObject) => {
        if (!wanted(message)) return;
        settle();
        resolve(message);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting = { onMessage, reject: fail };
      try {
        this.#connection.send(request);
      } catch (error) {
        fail(toPrimaError(error, `asking ${this.#peer}`));
      }
    });
  }

  /** Thaws after a failed freeze and gives the error to raise. */
  async #thawAfter(failure: PrimaError): Promise<PrimaError> {
    if (this.#connection.failure) return failure; // no way left to ask; the caller connects anew
    try {
      await this.thaw();
      return failure;
    } catch (error) {
      if (failure.code === 'remote') return failure; // the agent refused to freeze, and to thaw as well
      const why = toPrimaError(error, 'thawing').message;
      return new PrimaError(
        failure.code,
        `${failure.message}; the guest may be frozen, thawing failed: ${why}`,
        {
          cause: failure,
          details: { ...failure.details, maybeFrozen: true },
        },
      );
    }
  }

  #count(command: string, answer: unknown): number {
    if (typeof answer === 'number' && Number.isSafeInteger(answer)) return answer;
    throw this.#unexpected(command, answer, 'a number');
  }

  #object(command: string, answer: unknown): JsonObject {
    if (isJsonObject(answer)) return answer;
    throw this.#unexpected(command, answer, 'an object');
  }

  #unexpected(command: string, answer: unknown, wanted: string): ProtocolError {
    const found = (JSON.stringify(answer) ?? 'nothing').slice(0, 100);
    return new ProtocolError(`${this.#peer} answered ${found} to ${command} where ${wanted} was wanted`);
  }
}

function execResult(status: JsonObject): GuestExecResult {
  const text = (key: string) => {
    const data = status[key];
    return typeof data === 'string' ? Buffer.from(data, 'base64').toString() : '';
  };
  const code = typeof status.signal === 'number' ? 128 + status.signal : Number(status.exitcode ?? 0);
  return { status: code, stdout: text('out-data'), stderr: text('err-data') };
}
