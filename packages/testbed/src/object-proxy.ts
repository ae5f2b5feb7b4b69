/**
 * A proxy before an S3 server: loses, stalls and breaks what a test wants, and gives conditional writes to
 * servers that lack them (Ceph 16 knows `If-None-Match` in buckets without versions only).
 */
import {
  Agent,
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  request as send,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { Mutex } from '@prima/base';

/**
 * `drop` breaks the connection before the server saw the request; `lose-answer` after it has done it; `stall` gives
 * the first half of the answer's body and then nothing more; `break` ends the connection there.
 */
export type ProxyFault = 'drop' | 'lose-answer' | 'stall' | 'break';

/** What the proxy does; may be changed at any time. */
export interface ProxyRules {
  /** Asked once for each request; `path` is percent-encoded and has no query. */
  fault?: ((method: string, path: string) => ProxyFault | undefined) | undefined;
  /** Serves TLS with this certificate and key (PEM); not to be changed later. */
  tls?: { cert: string; key: string } | undefined;
  /** Whether an object is there, for requests with `If-None-Match`; the proxy answers 412 when it is. */
  exists?: ((path: string) => Promise<boolean>) | undefined;
}

export interface ObjectProxy extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, or `https:` with `tls`. */
  readonly endpoint: string;
  readonly rules: ProxyRules;
  /** Method and path of each request so far. */
  readonly requests: string[];
}

/** Starts a proxy on loopback to `endpoint`. Disposing of it breaks all connections. */
export async function startObjectProxy(endpoint: string, rules: ProxyRules = {}): Promise<ObjectProxy> {
  const proxy = new Proxy(new URL(endpoint), rules);
  const serve = (request: IncomingMessage, response: ServerResponse) => void proxy.serve(request, response);
  const server = rules.tls ? createSecureServer(rules.tls, serve) : createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  return {
    endpoint: `${rules.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    rules,
    requests: proxy.requests,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      proxy.close();
      await closed;
    },
  };
}

class Proxy {
  readonly requests: string[] = [];
  readonly #target: URL;
  readonly #rules: ProxyRules;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #writing = new Map<string, Mutex>();

  constructor(target: URL, rules: ProxyRules) {
    this.#target = target;
    this.#rules = rules;
  }

  close(): void {
    this.#agent.destroy();
  }

  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const path = url.replace(/\?.*$/, '');
    this.requests.push(`${method} ${path}`);
    try {
      const fault = this.#rules.fault?.(method, path);
      if (fault === 'drop') request.destroy();
      else if (request.headers['if-none-match'] === undefined || !this.#rules.exists) {
        await this.#forward(request, response, fault);
      } else await this.#forwardIfAbsent(path, { request, response, fault });
    } catch {
      response.destroy(); // the client is gone, or the server
    }
  }

  async #forwardIfAbsent(
    path: string,
    {
      request,
      response,
      fault,
    }: { request: IncomingMessage; response: ServerResponse; fault: ProxyFault | undefined },
  ): Promise<void> {
    const writing = this.#writing.get(path) ?? new Mutex();
    this.#writing.set(path, writing);
    await writing.run(async () => {
      if (!(await this.#rules.exists?.(path))) return this.#forward(request, response, fault);
      for await (const _ of request); // some clients read no answer before they have sent everything
      if (fault) return void response.destroy();
      response.writeHead(412, { 'content-type': 'application/xml' });
      response.end(
        '<?xml version="1.0"?><Error><Code>PreconditionFailed</Code><Message>exists</Message></Error>',
      );
    });
  }

  async #forward(request: IncomingMessage, response: ServerResponse, fault?: ProxyFault): Promise<void> {
    const { method, url: path, headers } = request;
    const { hostname, port } = this.#target;
    const options = {
      hostname,
      port,
      method,
      path,
      headers: headers as OutgoingHttpHeaders,
      agent: this.#agent,
    };
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const forwarded = send(options, resolve);
      forwarded.on('error', reject);
      request.on('error', (error) => forwarded.destroy(error));
      request.pipe(forwarded);
    });
    const body = Buffer.concat(await Array.fromAsync<Buffer>(answer));
    if (fault === 'lose-answer') return void response.destroy();
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    if (fault === undefined) return void response.end(body);
    response.write(body.subarray(0, body.length / 2), () => fault === 'break' && response.destroy());
  }
}
