/** A real server on loopback with a home of its own, for tests. */
import assert from 'node:assert/strict';
import { createLogger } from '@prima/base';
import { type ResourceClient, resourceClient, type Session } from '@prima/api/http';
import { type RunningServer, type ServerOptions, startServer } from '@prima/server';
import { type Cleanup, temporaryFolder } from '@prima/testbed';

export const password = 'correct horse battery';

export interface ServerWorld {
  home: string;
  server: RunningServer;
  /** What it logged. */
  said: string[];
  /** A second one on the same home and database. */
  another(): Promise<RunningServer>;
  /** Ends it, and starts it again on the same home. */
  restart(): Promise<RunningServer>;
}

export async function serverWorld(
  test: Cleanup,
  options: Pick<ServerOptions, 'database' | 'atOnce' | 'publicUrl' | 'notificationTimes'> = {},
): Promise<ServerWorld> {
  const home = await temporaryFolder(test);
  const said: string[] = [];
  const logger = createLogger(({ level, message }) => said.push(`${level} ${message}`));
  const start = () => startServer({ home, listen: '127.0.0.1:0', plain: true, logger, ...options });
  const world: ServerWorld = {
    home,
    said,
    server: await start(),
    async another() {
      const other = await start();
      test.after(() => other.close());
      return other;
    },
    async restart() {
      await world.server.close();
      world.server = await start();
      return world.server;
    },
  };
  test.after(() => world.server.close());
  return world;
}

/** What a browser keeps of the answers' cookies. */
export class CookieJar {
  readonly #cookies = new Map<string, string>();

  keep({ headers }: Response): void {
    for (const line of headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') this.#cookies.delete(name);
      else this.#cookies.set(name, value);
    }
  }

  get header(): string {
    return [...this.#cookies].map((pair) => pair.join('=')).join('; ');
  }
}

/** Somebody at a browser: cookies and the session's csrf are sent along. */
export class Visitor {
  readonly call: ResourceClient;
  readonly #url: string;
  readonly #cookies = new CookieJar();
  #csrf = '';

  constructor(url: string) {
    this.#url = url;
    this.call = resourceClient({
      origin: url,
      headers: () => this.headers,
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        this.#cookies.keep(response);
        return response;
      },
    });
  }

  get headers(): { cookie: string; 'x-prima-csrf': string } {
    return { cookie: this.#cookies.header, 'x-prima-csrf': this.#csrf };
  }

  took(session: Session): Session {
    this.#csrf = session.csrf;
    return session;
  }

  async useLink(link: string, name: string): Promise<Session> {
    const secret = link.split('/link/')[1] ?? '';
    return this.took(await this.call('useLink', { path: { secret }, body: { name, password } }));
  }

  async signIn(name: string): Promise<Session> {
    const session = await this.call('signIn', { body: { name, password } });
    assert.ok(!('needsCode' in session));
    return this.took(session);
  }

  /** An operation, quick or as a job that is followed to its end. */
  async operate(name: string, request: object, repository?: string): Promise<unknown> {
    const query = repository === undefined ? '' : `?repository=${repository}`;
    const response = await fetch(`${this.#url}/api/v1/operations/${name}${query}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...this.headers },
      body: JSON.stringify(request),
    });
    const body = (await response.json()) as { result?: unknown; job?: { id: string }; detail?: string };
    assert.ok(response.ok, body.detail ?? '');
    return body.job ? this.follow(body.job.id) : body.result;
  }

  async follow(id: string): Promise<unknown> {
    const response = await fetch(`${this.#url}/api/v1/jobs/${id}/events`, { headers: this.headers });
    const text = await response.text(); // the server ends it with the job
    assert.match(text, /event: state/);
    const job = await this.call('getJob', { path: { id } });
    assert.equal(job.state, 'succeeded', job.error?.message ?? '');
    return job.result;
  }
}

/** The first account, who may all. */
export async function administrator({ server }: ServerWorld): Promise<Visitor> {
  const visitor = new Visitor(server.url);
  assert.ok(server.firstLink);
  await visitor.useLink(server.firstLink, 'admin');
  return visitor;
}
