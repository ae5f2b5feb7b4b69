/** The operations of an application in this process over HTTP as docs/protocol/http.md has it, with jobs in memory alone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ErrorDto, JobEvent, OperationName, PrimaApi } from '@prima/api';
import { invoke, isOperationName, operations, parseRequest, withoutSecrets } from '@prima/api/schemas';
import { errorCodes, PrimaError, toPrimaError } from '@prima/base';

interface Told {
  type: string;
  state?: TestJob['state'];
}

export interface TestJob {
  id: string;
  operation: OperationName;
  /** Without secrets. */
  request: unknown;
  state: 'running' | 'succeeded' | 'failed' | 'cancelled';
  result?: unknown;
  error?: ErrorDto;
  events: Told[];
  stopper: AbortController;
  followers: Set<ServerResponse>;
}

export interface OperationServer extends AsyncDisposable {
  url: string;
  jobs: TestJob[];
  /** Breaks every connection, as a network does. */
  breakConnections(): void;
}

const token = 'test-token';
/** For the environment of `prima`. */
export const serverEnvironment = (url: string) => ({ PRIMA_SERVER: url, PRIMA_TOKEN: token });

export async function operationServer(application: PrimaApi): Promise<OperationServer> {
  const jobs: TestJob[] = [];
  const keys = new Map<string, TestJob>();

  function begin(operation: OperationName, request: unknown): TestJob {
    const job: TestJob = {
      id: String(jobs.length + 1),
      operation,
      request: withoutSecrets(operations[operation].request, request),
      state: 'running',
      events: [],
      stopper: new AbortController(),
      followers: new Set(),
    };
    jobs.push(job);
    const onEvent = (event: JobEvent) => tell(job, event);
    void invoke(application, operation, request, { signal: job.stopper.signal, onEvent }).then(
      (result) => end(job, { state: 'succeeded', result }),
      (raised: unknown) => {
        const { code, message, exitStatus, details } = toPrimaError(raised, operation);
        const state = job.stopper.signal.aborted && code === 'cancelled' ? 'cancelled' : 'failed';
        end(job, { state, error: { code, message, exitStatus, details } });
      },
    );
    return job;
  }

  async function operate(name: string, message: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOperationName(name)) throw new PrimaError('not-found', `no operation ${name}`);
    const request = parseRequest(name, JSON.parse(await textOf(message)));
    const { kind, media } = operations[name];
    if (kind === 'job') {
      const key = String(message.headers['idempotency-key']);
      const job = keys.get(key) ?? begin(name, request);
      keys.set(key, job);
      json(response, { job: { id: job.id } }, 202);
      return;
    }
    const stopper = new AbortController();
    response.once('close', () => stopper.abort());
    const result = await invoke(application, name, request, { signal: stopper.signal });
    if (media === undefined) json(response, { result });
    else response.writeHead(200, { 'content-type': media }).end(result);
  }

  async function answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    assert.equal(message.headers.authorization, `Bearer ${token}`);
    const { pathname } = new URL(message.url ?? '', 'http://localhost');
    const [, , , kind, name = '', what] = pathname.split('/');
    if (kind === 'operations') return await operate(name, message, response);
    const job = jobs.find(({ id }) => id === name);
    if (!job) throw new PrimaError('not-found', `no job ${name}`);
    if (what === 'events') follow(job, Number(message.headers['last-event-id'] ?? 0), response);
    else {
      if (what === 'cancel') job.stopper.abort(new PrimaError('cancelled', 'cancelled'));
      const { id, state, result, error } = job;
      json(response, { id, state, result, error });
    }
  }

  const server = createServer((message, response) => {
    void answer(message, response).catch((raised: unknown) => {
      const { code, message: detail, exitStatus, details } = toPrimaError(raised, 'answering');
      const status = errorCodes[code].http;
      const body = { type: `urn:prima:error:${code}`, status, detail, code, exitStatus, details };
      response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    jobs,
    breakConnections: () => server.closeAllConnections(),
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await application.close();
    },
  };
}

function tell(job: TestJob, event: Told): void {
  job.events.push(event);
  for (const follower of job.followers) write(follower, job.events.length, event);
}

function end(job: TestJob, outcome: Partial<TestJob> & { state: TestJob['state'] }): void {
  Object.assign(job, outcome);
  tell(job, { type: 'state', state: outcome.state });
  for (const follower of job.followers) follower.end();
}

function follow(job: TestJob, after: number, response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
  for (const [index, event] of job.events.entries()) if (index >= after) write(response, index + 1, event);
  if (job.state !== 'running') response.end();
  job.followers.add(response);
  response.once('close', () => job.followers.delete(response));
}

function write(response: ServerResponse, id: number, event: Told): void {
  response.write(`id: ${id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
}

function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

async function textOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of message) text += String(piece);
  return text;
}
