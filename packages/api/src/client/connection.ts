/** One server: requests with a deadline, tried again where that does no harm, and what it answers. */
import { PrimaError, RemoteError, throwIfAborted, UserError } from '@prima/base';
import { problemOf } from './problem.ts';
import { type Pause, pause } from './timing.ts';
import { type Fetch, UntrustedError } from './trusting-fetch.ts';

export interface ConnectionOptions extends Pause {
  /** Of the server, without a slash at its end. */
  url: string;
  token: string;
  fetch: Fetch;
}

export interface Sending {
  method: 'GET' | 'POST';
  /** Below the server's URL: `/api/v1/jobs/7`. */
  path: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** Doing it twice is as good as once. */
  repeatable: boolean;
  deadlineMs: number;
  signal?: AbortSignal;
}

export interface Answer {
  response: Response;
  bytes: Uint8Array;
}

/** Bytes of an answer: a million restore points have fewer. */
const answerBytesAtMost = 1024 * 1024 * 1024;

export class Connection {
  readonly options: ConnectionOptions;

  constructor(options: ConnectionOptions) {
    this.options = options;
  }

  /** Raises the error that the server tells; `remote` and `timeout` when it cannot be reached. */
  async request(sending: Sending): Promise<Answer> {
    return await this.#trying(sending, async (response) => ({
      response,
      bytes: await readAll(response, answerBytesAtMost),
    }));
  }

  async json(sending: Sending): Promise<unknown> {
    const { bytes } = await this.request(sending);
    try {
      return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
    } catch (error) {
      throw new PrimaError(
        'protocol',
        `${this.placeOf(sending)} answered what is no JSON; is it a Prima server?`,
        {
          cause: error,
        },
      );
    }
  }

  /** An answer whose body is read as it comes; `deadlineMs` is for its beginning. Aborting `signal` ends it. */
  async open(sending: Sending): Promise<Response> {
    return await this.#trying(sending, async (response) => response);
  }

  placeOf({ path }: { path: string }): string {
    return `${this.options.url}${path.replace(/\?.*/, '')}`;
  }

  async #trying<T>(sending: Sending, read: (response: Response) => Promise<T>): Promise<T> {
    const { timing } = this.options;
    const { signal } = sending;
    for (let tried = 1; ; tried += 1) {
      try {
        return await this.#try(sending, read);
      } catch (error) {
        const failure = this.#failureOf(error, sending);
        if (tried >= timing.tries || !failure.again) throw failure.error;
        await pause(this.options, tried, { signal, atLeastMs: failure.afterMs });
      }
    }
  }

  async #try<T>(sending: Sending, read: (response: Response) => Promise<T>): Promise<T> {
    const { method, path, body, headers, deadlineMs, signal } = sending;
    const { url, token, fetch } = this.options;
    const stopper = new AbortController();
    const timer = setTimeout(
      () => stopper.abort(new DOMException('no answer in time', 'TimeoutError')),
      deadlineMs,
    );
    try {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          accept: 'application/json',
          authorization: `Bearer ${token}`,
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: signal ? AbortSignal.any([signal, stopper.signal]) : stopper.signal,
        redirect: 'error',
      });
      if (response.ok) return await read(response);
      throw await this.#refusal(response, sending);
    } finally {
      clearTimeout(timer);
    }
  }

  async #refusal(response: Response, sending: Sending): Promise<Refusal> {
    const { status } = response;
    const text = new TextDecoder().decode(await readAll(response, 1024 * 1024));
    const problem = problemOf(jsonOf(text));
    const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
    const error =
      problem ??
      new RemoteError(`${this.placeOf(sending)} answered ${status}; is it a Prima server?`, {
        details: { status },
        retryable: status >= 502,
      });
    // Too early, or too much: it has not been done.
    const wasNotBegun = status === 429 || (status === 503 && Number.isFinite(seconds));
    const isBetween = !problem && status >= 502 && status <= 504;
    return new Refusal(error, {
      again: wasNotBegun || (isBetween && sending.repeatable),
      afterMs: Number.isFinite(seconds) ? seconds * 1000 : 0,
    });
  }

  #failureOf(error: unknown, sending: Sending): { error: unknown; again: boolean; afterMs: number } {
    const { signal, repeatable, deadlineMs } = sending;
    if (signal?.aborted)
      return { error: cancelledBy(signal, this.placeOf(sending)), again: false, afterMs: 0 };
    if (error instanceof Refusal) return { error: error.error, ...error.way };
    if (error instanceof PrimaError) return { error, again: false, afterMs: 0 };
    const { code, message } = causeOf(error);
    const where = `connecting to ${this.options.url}`;
    const refused = untrusted(error, where);
    if (refused) return { error: refused, again: false, afterMs: 0 };
    const isLate = error instanceof Error && error.name === 'TimeoutError';
    const remote = new RemoteError(
      isLate ? `${this.placeOf(sending)}: no answer within ${deadlineMs / 1000} s` : `${where}: ${message}`,
      { code: isLate ? 'timeout' : 'remote', retryable: true, cause: error },
    );
    // What had minutes to answer is not asked again at once.
    const again = isLate
      ? repeatable && deadlineMs <= this.options.timing.answerMs
      : repeatable || neverConnected.has(code);
    return { error: remote, again, afterMs: 0 };
  }
}

/** An answer that says no. */
class Refusal extends Error {
  readonly error: PrimaError;
  readonly way: { again: boolean; afterMs: number };
  constructor(error: PrimaError, way: { again: boolean; afterMs: number }) {
    super(error.message);
    this.error = error;
    this.way = way;
  }
}

const neverConnected = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** What is to be said where a request failed because of the server's certificate; asking again would not help. */
export function untrusted(error: unknown, where: string): UserError | undefined {
  const { code, message } = causeOf(error);
  const isPinned = error instanceof UntrustedError;
  if (!isPinned && !/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME/.test(code)) return undefined;
  const advice = isPinned ? '' : '; name its authority or its fingerprint';
  return new UserError('permission', `${where}: the server cannot be trusted: ${message}${advice}`, {
    cause: error,
  });
}

/** What fetch wraps. */
function causeOf(error: unknown): { code: string; message: string } {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const message = inner instanceof Error ? inner.message || String(inner) : String(inner);
  const code = inner instanceof Error && 'code' in inner ? String(inner.code) : '';
  return { code, message: message || code };
}

function cancelledBy(signal: AbortSignal, place: string): unknown {
  try {
    throwIfAborted(signal, `waiting for ${place}`);
  } catch (error) {
    return error;
  }
  return signal.reason;
}

async function readAll({ body }: Response, most: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body ?? []) {
    length += piece.length;
    if (length > most) throw new PrimaError('protocol', `the answer has more than ${most} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces, length);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined; // whatever is between answers in its own words
  }
}
