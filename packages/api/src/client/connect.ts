/** Puts the operations of a server behind the contract. */
import {
  type Clock,
  PrimaError,
  type Random,
  RemoteError,
  systemClock,
  systemRandom,
  throwIfAborted,
  toPrimaError,
  UserError,
} from '@prima/base';
import { z } from 'zod';
import type { CallOptions } from '../call.ts';
import type { PrimaApi } from '../contract.ts';
import type { OperationName } from '../operation.ts';
import { operationNames, operations } from '../operation-table.ts';
import { parseAnswer, parseRequest } from '../parse.ts';
import { ExportDto, type ExportHandle, type ExportRequest } from '../restore.ts';
import { Nothing } from '../values.ts';
import { ApiError, type ResourceClient, resourceClient } from '../http/resource-client.ts';
import { Connection, untrusted } from './connection.ts';
import { errorOf } from './problem.ts';
import { runJob } from './job.ts';
import { defaultTiming, type Timing } from './timing.ts';
import { type Fetch, type FetchInit, type Trust, trustingFetch } from './trusting-fetch.ts';

export interface ServerOptions extends Trust {
  /** `https://prima.example.org`; `http://` only on this computer. */
  url: string;
  token: string;
  /** The name that the server knows the repository by. */
  repository?: string;
  /** Default: Node's, or one that trusts what `ca` or `fingerprint` say. */
  fetch?: Fetch;
  clock?: Clock;
  random?: Random;
  timing?: Partial<Timing>;
}

/** Connects with the first request, not before. Raises `usage` when what is given makes no sense. Close it in the end. */
export function connectPrima(options: ServerOptions): PrimaApi {
  return new Client(connectionTo(options), options.repository).api();
}

/** Its resources. Raises what the server tells as it is there, `remote` (retryable) where it cannot be reached, `permission` for another certificate. */
export function serverResources(options: ServerOptions): ResourceClient {
  const { url, token, fetch: send } = connectionTo(options).options;
  const call = resourceClient({
    origin: url,
    headers: () => ({ authorization: `Bearer ${token}` }),
    fetch: ((input: string, init: FetchInit) => send(input, { ...init, redirect: 'error' })) as typeof fetch,
  });
  return async (name, input) => {
    try {
      return await call(name, input);
    } catch (error) {
      if (error instanceof ApiError)
        throw errorOf({ ...error.problem, retryable: error.problem.retryable ?? error.status >= 502 });
      const refused = untrusted(error, `connecting to ${url}`);
      if (refused) throw refused;
      const { message } =
        error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
      throw new RemoteError(`asking ${url}: ${message}`, { retryable: true, cause: error });
    }
  };
}

/** A resource of the server that is lines of text, as they come, without their ends. Raises as operations do. */
export async function* serverLines(
  options: ServerOptions,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const connection = connectionTo(options);
  const deadlineMs = connection.options.timing.answerMs;
  const { body } = await connection.open({ method: 'GET', path, repeatable: true, deadlineMs, signal });
  let rest = '';
  try {
    for await (const text of (body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  } catch (error) {
    throwIfAborted(signal, `reading ${connection.placeOf({ path })}`);
    const { message } = toPrimaError(error, 'reading');
    throw new RemoteError(`${connection.placeOf({ path })} broke off: ${message}`, {
      retryable: true,
      cause: error,
    });
  }
  if (rest !== '')
    throw new RemoteError(`${connection.placeOf({ path })} broke off within a line`, { retryable: true });
}

function connectionTo(options: ServerOptions): Connection {
  const { token, ca, fingerprint, clock = systemClock, random = systemRandom } = options;
  if (!/^[\x21-\x7e]+$/.test(token)) throw new UserError('usage', 'the token is empty or has odd characters');
  const isTrusted = ca === undefined && fingerprint === undefined;
  const url = serverUrl(options.url, isTrusted);
  const fetched = options.fetch ?? (isTrusted ? globalThis.fetch : trustingFetch({ ca, fingerprint }));
  const timing = { ...defaultTiming, ...options.timing };
  return new Connection({ url, token, fetch: fetched, clock, random, timing });
}

class Client {
  readonly #connection: Connection;
  readonly #query: string;
  readonly #closing = new AbortController();
  readonly #calls = new Set<Promise<unknown>>();

  constructor(connection: Connection, repository: string | undefined) {
    this.#connection = connection;
    this.#query = repository === undefined ? '' : `?repository=${encodeURIComponent(repository)}`;
  }

  api(): PrimaApi {
    const calls = operationNames.map((name) => {
      const takesNothing = operations[name].request === Nothing;
      const call = (...all: unknown[]) => {
        const [request, options] = takesNothing ? [{}, all[0]] : all;
        return this.#call(name, request, options ?? {});
      };
      return [name, call];
    });
    const api = { ...Object.fromEntries(calls), close: () => this.#close() } as PrimaApi;
    return { ...api, export: (request, options) => this.#export(request, options ?? {}) };
  }

  /** Runs one call; it is cancelled and waited for when the client is closed meanwhile. */
  async #call(name: OperationName, asked: unknown, options: CallOptions): Promise<unknown> {
    const own = this.#closing.signal;
    throwIfAborted(own, 'calling a client that is closed');
    const signal = options.signal ? AbortSignal.any([options.signal, own]) : own;
    const running = this.#send(name, asked, { ...options, signal });
    this.#calls.add(running);
    try {
      return await running;
    } catch (error) {
      throw toPrimaError(error, `asking ${this.#connection.options.url}`);
    } finally {
      this.#calls.delete(running);
    }
  }

  async #send(
    name: OperationName,
    asked: unknown,
    options: CallOptions & { signal: AbortSignal },
  ): Promise<unknown> {
    const { kind, media, local, reads, result } = operations[name];
    if (local !== undefined) throw new UserError('unsupported', local);
    throwIfAborted(options.signal, `asking for ${name}`);
    const request = parseRequest(name, asked);
    const path = `/api/v1/operations/${name}${this.#query}`;
    const what = `the answer of ${this.#connection.placeOf({ path })}`;
    const { signal } = options;
    if (kind === 'job') {
      const answer = await runJob(this.#connection, { path, request, ...options });
      return parseAnswer<unknown>(result, answer ?? null, what) ?? undefined;
    }
    const deadlineMs = this.#connection.options.timing.quickMs;
    const sending = { method: 'POST', path, body: request, repeatable: reads, deadlineMs, signal } as const;
    if (media !== undefined) return await this.#media(media, sending);
    const { result: answer } = parseAnswer(Answered, await this.#connection.json(sending), what);
    return parseAnswer<unknown>(result, answer ?? null, what) ?? undefined;
  }

  async #media(media: string, sending: Parameters<Connection['request']>[0]): Promise<Uint8Array> {
    const { response, bytes } = await this.#connection.request({
      ...sending,
      headers: { accept: media },
    });
    const found = response.headers.get('content-type')?.replace(/;.*/, '');
    if (found === media) return bytes;
    throw new PrimaError('protocol', `${this.#connection.placeOf(sending)} answered ${found}, not ${media}`);
  }

  /** The job that serves works until it is cancelled; an event of it says where. */
  async #export(request: ExportRequest, options: CallOptions): Promise<ExportHandle> {
    const stopper = new AbortController();
    const ready = Promise.withResolvers<ExportDto>();
    const signals = options.signal ? [options.signal, stopper.signal] : [stopper.signal];
    const serving = this.#call('export', request, {
      signal: AbortSignal.any(signals),
      onEvent: (event) => {
        const found = event.type === 'log' ? ExportDto.safeParse(event.fields) : undefined;
        if (found?.success) ready.resolve(found.data);
        else options.onEvent?.(event);
      },
    });
    const ended = serving.then(
      () => ready.reject(new PrimaError('state', 'the export has ended')),
      (error: unknown) => ready.reject(error),
    );
    const { uris } = await ready.promise;
    const stop = async () => {
      stopper.abort(new PrimaError('cancelled', 'the export was stopped'));
      await ended;
    };
    return { uris, stop };
  }

  async #close(): Promise<void> {
    this.#closing.abort(new PrimaError('cancelled', 'cancelled: Prima is ending'));
    await Promise.allSettled(this.#calls);
  }
}

const Answered = z.object({ result: z.unknown() });

/** Without a slash at its end. Raises `usage`. */
function serverUrl(text: string, isTrusted: boolean): string {
  const url = URL.parse(text);
  const wrong = (why: string) => new UserError('usage', `"${text}" is no server's address: ${why}`);
  if (!url || !['https:', 'http:'].includes(url.protocol)) throw wrong('write https://HOST[:PORT]');
  if (url.username !== '' || url.search !== '' || url.hash !== '') {
    throw wrong('it must have no user, question mark or number sign');
  }
  if (url.protocol === 'https:') return url.href.replace(/\/+$/, '');
  if (!/^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/.test(url.hostname)) {
    throw wrong('without TLS everybody between could read the token; write https://');
  }
  if (!isTrusted) throw wrong('a server without TLS has no certificate; write https://');
  return url.href.replace(/\/+$/, '');
}
