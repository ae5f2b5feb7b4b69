/** For tests: a server that speaks docs/protocol/http.md, and does wrong what a test wants it to. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface Received {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: unknown;
}

/** In PEM. */
export interface Certificate {
  key: string;
  cert: string;
}

/** Answers one request. What it answers with may be broken off by destroying the socket. */
export type Route = (request: Received, response: ServerResponse) => void | Promise<void>;

export class TestServer {
  readonly requests: Received[] = [];
  readonly #routes: Record<string, Route>;
  readonly #tls: Certificate | undefined;
  #server: Server;
  port = 0;

  private constructor(routes: Record<string, Route>, tls?: Certificate) {
    this.#routes = routes;
    this.#tls = tls;
    this.#server = this.#create();
  }

  /** @param routes by method and path without its query: `POST /api/v1/operations/status` */
  static async start(routes: Record<string, Route>, tls?: Certificate): Promise<TestServer> {
    const server = new TestServer(routes, tls);
    await server.listen();
    return server;
  }

  get url(): string {
    return this.#tls ? `https://localhost:${this.port}` : `http://127.0.0.1:${this.port}`;
  }

  /** What has been asked, as `METHOD /path`. */
  get asked(): string[] {
    return this.requests.map(({ method, path }) => `${method} ${path}`);
  }

  async listen(): Promise<void> {
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  /** Breaks every connection, too. It may listen again. */
  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    this.#server = this.#create();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.stop();
  }

  #create(): Server {
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      void this.#answer(request, response);
    };
    return this.#tls ? createTlsServer(this.#tls, answer) : createServer(answer);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const piece of request) text += String(piece);
    const { method = '', url = '', headers } = request;
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const received = { method, path: url, headers, body };
    this.requests.push(received);
    const route = this.#routes[`${method} ${url.replace(/\?.*/, '')}`];
    if (route) await route(received, response);
    else problem(response, 'not-found', { status: 404, detail: `no ${method} ${url}` });
  }
}

export function json(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

export function problem(
  response: ServerResponse,
  code: string,
  { status, detail, ...more }: { status: number; detail: string; [key: string]: unknown },
): void {
  const body = { type: `urn:prima:error:${code}`, title: code, status, detail, code, ...more };
  response.writeHead(status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(body));
}

export function stream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.flushHeaders();
}

export function event(response: ServerResponse, id: number, value: { type: string }): void {
  response.write(`id: ${id}\nevent: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`);
}

export const log = (message: string, fields?: Record<string, unknown>) =>
  ({ type: 'log', level: 'info', message, ...(fields && { fields }) }) as const;
export const state = (name: string) => ({ type: 'state', state: name });
