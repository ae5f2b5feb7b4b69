/** One job of a server: begun, followed to its end through broken connections, cancelled when its caller wants. */
import { randomUUID } from 'node:crypto';
import { PrimaError, RemoteError, toPrimaError } from '@prima/base';
import { z } from 'zod';
import { type CallOptions, JobEvent } from '../call.ts';
import { parseAnswer } from '../parse.ts';
import type { Connection } from './connection.ts';
import { EventStreamParser, type StreamEvent } from './event-stream.ts';
import { errorOf, JobError } from './problem.ts';
import { pause } from './timing.ts';

const Begun = z.object({ job: z.object({ id: z.string().min(1).max(255) }) });

const JobStatus = z.object({
  state: z.enum(['queued', 'running', 'succeeded', 'failed', 'cancelled']),
  result: z.unknown().optional(),
  error: JobError.nullish(),
});
type JobStatus = z.infer<typeof JobStatus>;

const ended = new Set<unknown>(['succeeded', 'failed', 'cancelled']);

const StateEvent = z.object({ state: z.string() });

/**
 * The job's result, as it was sent. Raises its error. When the signal aborts the job is cancelled, and its end waited for.
 * @param path of the operation, with its repository
 */
export async function runJob(
  connection: Connection,
  { path, request, signal, onEvent }: { path: string; request: unknown } & CallOptions,
): Promise<unknown> {
  const { answerMs: deadlineMs } = connection.options.timing;
  const begun = await connection.json({
    method: 'POST',
    path,
    body: request,
    headers: { 'idempotency-key': randomUUID() },
    repeatable: true,
    deadlineMs,
    // Once it is sent the server may have begun; what was begun has to be known to be cancelled.
  });
  const { id } = parseAnswer(Begun, begun, `the answer of ${connection.placeOf({ path })}`).job;
  const job = new Job(connection, id, onEvent);
  const { state, result, error } = await job.end(signal);
  if (state === 'succeeded') return result;
  if (state === 'failed' && (result ?? null) !== null) return result; // it tells what failed, and what did not
  if (error) throw errorOf(error);
  throw new PrimaError(state === 'cancelled' ? 'cancelled' : 'remote', `the job ${id} is ${state}`);
}

class Job {
  readonly #connection: Connection;
  readonly #id: string;
  readonly #path: string;
  readonly #onEvent: CallOptions['onEvent'];
  #lastId: number | undefined;
  /** On the clock, when the server last said anything. */
  #heard: number;

  constructor(connection: Connection, id: string, onEvent: CallOptions['onEvent']) {
    this.#connection = connection;
    this.#id = id;
    this.#path = `/api/v1/jobs/${encodeURIComponent(id)}`;
    this.#onEvent = onEvent;
    this.#heard = connection.options.clock.monotonic();
  }

  /** How it ended. */
  async end(signal: AbortSignal | undefined): Promise<JobStatus> {
    let cancelling: Promise<unknown> | undefined;
    const cancel = () => {
      cancelling = this.#cancel();
      cancelling.catch(() => undefined); // the following says what is wrong with the server
    };
    if (signal?.aborted) cancel();
    else signal?.addEventListener('abort', cancel, { once: true });
    try {
      const status = await this.#follow();
      await cancelling?.catch(() => undefined); // how the job ended is what counts
      return status;
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  async #cancel(): Promise<void> {
    const deadlineMs = this.#connection.options.timing.answerMs;
    await this.#connection.request({
      method: 'POST',
      path: `${this.#path}/cancel`,
      repeatable: true,
      deadlineMs,
    });
  }

  async #follow(): Promise<JobStatus> {
    for (let tried = 1; ; tried += 1) {
      const before = this.#heard;
      let failure: PrimaError | undefined;
      try {
        await this.#stream();
        const status = await this.#status();
        if (ended.has(status.state)) return status;
      } catch (error) {
        failure = toPrimaError(error, `following the job ${this.#id}`);
        if (!failure.retryable) throw failure;
      }
      if (this.#heard > before) tried = 1;
      this.#giveUpWhenSilent(failure);
      await pause(this.#connection.options, tried, {});
    }
  }

  #giveUpWhenSilent(cause: PrimaError | undefined): void {
    const { clock, timing, url } = this.#connection.options;
    const silentMs = clock.monotonic() - this.#heard;
    if (silentMs < timing.silentMs) return;
    throw new RemoteError(
      `${url} has said nothing of the job ${this.#id} for ${Math.round(silentMs / 1000)} s` +
        `${cause ? ` (${cause.message})` : ''}; it may be going on there: look at the server's jobs`,
      { code: 'timeout', cause },
    );
  }

  /** Reads one stream until it ends or says that the job has ended. */
  async #stream(): Promise<void> {
    const { timing } = this.#connection.options;
    const stopper = new AbortController();
    const response = await this.#connection.open({
      method: 'GET',
      path: `${this.#path}/events`,
      headers: {
        accept: 'text/event-stream',
        ...(this.#lastId !== undefined && { 'last-event-id': String(this.#lastId) }),
      },
      repeatable: false, // this one tries again by itself
      deadlineMs: timing.answerMs,
      signal: stopper.signal,
    });
    try {
      await this.#read(response);
    } catch (error) {
      if (error instanceof PrimaError) throw error;
      throw new RemoteError(`the events of the job ${this.#id} broke off`, { cause: error, retryable: true });
    } finally {
      stopper.abort();
    }
  }

  async #read({ body, headers }: Response): Promise<void> {
    if (!headers.get('content-type')?.startsWith('text/event-stream')) {
      throw new PrimaError(
        'protocol',
        `${this.#connection.placeOf({ path: this.#path })}/events is no stream of events`,
      );
    }
    const parser = new EventStreamParser();
    const reader = body?.getReader();
    if (!reader) return;
    for (;;) {
      const { value } = await within(reader.read(), this.#connection.options.timing.idleMs);
      if (value === undefined) return;
      this.#heard = this.#connection.options.clock.monotonic();
      for (const event of parser.parse(value)) if (this.#event(event)) return;
    }
  }

  /** True at the job's end. */
  #event({ id, event, data }: StreamEvent): boolean {
    const number = Number(id);
    if (Number.isSafeInteger(number)) {
      if (this.#lastId !== undefined && number <= this.#lastId) return false; // it has been told
      this.#lastId = number;
    }
    if (event === 'state') return ended.has(parsed(StateEvent, data).state);
    if (event !== 'log' && event !== 'progress') return false;
    const told = parsed(JobEvent, data);
    this.#onEvent?.(told);
    return false;
  }

  async #status(): Promise<JobStatus> {
    const { timing } = this.#connection.options;
    const deadlineMs = timing.answerMs;
    const answer = await this.#connection.json({
      method: 'GET',
      path: this.#path,
      repeatable: true,
      deadlineMs,
    });
    this.#heard = this.#connection.options.clock.monotonic();
    return parseAnswer(JobStatus, answer, `the job ${this.#id}`);
  }
}

function parsed<Value>(schema: z.ZodType<Value>, data: string): Value {
  let value: unknown;
  try {
    value = JSON.parse(data) as unknown;
  } catch (error) {
    throw new PrimaError('protocol', 'an event of the job is no JSON', { cause: error });
  }
  return parseAnswer(schema, value, 'an event of the job');
}

async function within<T>(reading: Promise<T>, idleMs: number): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new RemoteError('the stream fell silent', { code: 'timeout', retryable: true })),
    idleMs,
  );
  try {
    return await Promise.race([reading, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
