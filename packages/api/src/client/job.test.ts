import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { seededRandom } from '@prima/base';
import type { JobEvent } from '../call.ts';
import type { PrimaApi } from '../contract.ts';
import { connectPrima } from './connect.ts';
import {
  event,
  json,
  log,
  problem,
  type Received,
  type Route,
  state,
  stream,
  TestServer,
} from './server-fixture.ts';
import type { Timing } from './timing.ts';

const timing = { firstDelayMs: 1, delayAtMostMs: 5 };
const result = { results: [{ source: 'lab/web01', elapsedMs: 5 }] };
const request = { sources: ['lab/web01'] };

/** A server with one job, whose events a test sends as it likes. */
class JobServer {
  readonly server: TestServer;
  state = 'running';
  error: unknown = null;
  result: unknown = result;
  /** Keys of requests that made the job, or found it made. */
  readonly keys: unknown[] = [];
  cancels = 0;

  private constructor(server: TestServer) {
    this.server = server;
  }

  static async start(
    events: (job: JobServer, request: Received, response: ServerResponse) => void | Promise<void>,
    more: (job: JobServer) => Record<string, Route> = () => ({}),
  ): Promise<JobServer> {
    const routes: Record<string, Route> = {};
    const job = new JobServer(await TestServer.start(routes));
    const begin: Route = ({ headers }, response) => {
      job.keys.push(headers['idempotency-key']);
      json(response, { job: { id: 'j/1' } }, 202);
    };
    Object.assign(routes, {
      'POST /api/v1/operations/backup': begin,
      'POST /api/v1/operations/export': begin,
      'GET /api/v1/jobs/j%2F1': (_, response) =>
        json(response, { id: 'j/1', state: job.state, result: job.result, error: job.error, more: 1 }),
      'GET /api/v1/jobs/j%2F1/events': (asked, response) => events(job, asked, response),
      'POST /api/v1/jobs/j%2F1/cancel': (_, response) => {
        job.cancels += 1;
        json(response, { id: 'j/1', state: job.state });
      },
      ...more(job),
    } satisfies Record<string, Route>);
    return job;
  }

  /** One that tells `begins`, and goes on until it is cancelled; it ends as `state` then. */
  static untilCancelled(begins: readonly JobEvent[], state: string): Promise<JobServer> {
    let open: ServerResponse | undefined;
    return JobServer.start(
      (_, __, response) => {
        open = response;
        stream(response);
        for (const [index, told] of begins.entries()) event(response, index + 1, told);
      },
      (job) => ({
        'POST /api/v1/jobs/j%2F1/cancel': (_, response) => {
          job.cancels += 1;
          json(response, {});
          if (open) job.end(begins.length + 1, state, open);
        },
      }),
    );
  }

  /** Ends the job, and says so. */
  end(id: number, name: string, response: ServerResponse): void {
    this.state = name;
    event(response, id, state(name));
    response.end();
  }

  client(more: Partial<Timing> = {}): PrimaApi {
    const { url } = this.server;
    return connectPrima({ url, token: 't', timing: { ...timing, ...more }, random: seededRandom(3) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

function listener(): { events: JobEvent[]; messages: () => string[]; onEvent: (event: JobEvent) => void } {
  const events: JobEvent[] = [];
  const messages = () => events.map((it) => (it.type === 'log' ? it.message : it.subject));
  return { events, messages, onEvent: (it) => events.push(it) };
}

const breakOff = (response: ServerResponse) => setImmediate(() => response.destroy());

test('a job is begun with a key, followed, and its result answered', async () => {
  const progress = { type: 'progress', subject: 'web01 disk0', done: 1, total: 2 } as const;
  await using job = await JobServer.start((it, _, response) => {
    stream(response);
    response.write(': hello\n\n');
    event(response, 1, state('running'));
    event(response, 2, log('begun', { disks: 2 }));
    event(response, 3, progress);
    event(response, 4, { type: 'weather' });
    it.end(5, 'succeeded', response);
  });
  const { events, onEvent } = listener();
  assert.deepEqual(await job.client().backup(request, { onEvent }), result);
  assert.deepEqual(events, [log('begun', { disks: 2 }), progress]);
  assert.match(String(job.keys[0]), /^[0-9a-f-]{36}$/);
  assert.equal(
    job.server.requests.find(({ path }) => path.endsWith('/events'))?.headers.accept,
    'text/event-stream',
  );
  await job.client().backup(request);
  assert.notEqual(job.keys[0], job.keys[1]);
});

test('when the answer to its beginning is lost, the same job is asked for', async () => {
  let isLost = false;
  await using job = await JobServer.start(
    (it, _, response) => {
      stream(response);
      it.end(1, 'succeeded', response);
    },
    (it) => ({
      'POST /api/v1/operations/backup': ({ headers }, response) => {
        it.keys.push(headers['idempotency-key']);
        if (isLost) json(response, { job: { id: 'j/1' } }, 202);
        else response.destroy();
        isLost = true;
      },
    }),
  );
  assert.deepEqual(await job.client().backup(request), result);
  assert.equal(job.keys.length, 2);
  assert.equal(job.keys[0], job.keys[1]);
});

test('a stream that breaks is read on where it was; nothing is told twice', async () => {
  const asked: unknown[] = [];
  await using job = await JobServer.start((it, { headers }, response) => {
    asked.push(headers['last-event-id']);
    stream(response);
    if (asked.length === 1) {
      event(response, 7, log('one'));
      event(response, 9, log('two'));
      breakOff(response);
    } else if (asked.length === 2) {
      response.write('id: 10\nevent: log\ndata: {"type":"log","lev'); // half of an event is none
      breakOff(response);
    } else if (asked.length === 3) {
      response.end();
    } else {
      event(response, 9, log('two'));
      event(response, 10, log('three'));
      it.end(11, 'succeeded', response);
    }
  });
  const { messages, onEvent } = listener();
  assert.deepEqual(await job.client().backup(request, { onEvent }), result);
  assert.deepEqual(messages(), ['one', 'two', 'three']);
  assert.deepEqual(asked, [undefined, '9', '9', '9']);
});

test('a stream that falls silent is given up for a new one', async () => {
  let streams = 0;
  await using job = await JobServer.start((it, _, response) => {
    streams += 1;
    stream(response);
    if (streams === 1) event(response, 1, log('one'));
    else it.end(2, 'succeeded', response);
  });
  assert.deepEqual(await job.client({ idleMs: 50 }).backup(request), result);
  assert.equal(streams, 2);
});

test('comments keep a quiet stream alive', async () => {
  let streams = 0;
  await using job = await JobServer.start(async (it, _, response) => {
    streams += 1;
    stream(response);
    for (let i = 0; i < 6; i += 1) {
      response.write(':\n\n');
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    it.end(2, 'succeeded', response);
  });
  assert.deepEqual(await job.client({ idleMs: 400 }).backup(request), result);
  assert.equal(streams, 1);
});

test('a server that is restarted in the middle is waited for', async () => {
  const first = Promise.withResolvers<void>();
  await using job = await JobServer.start((it, { headers }, response) => {
    stream(response);
    if (headers['last-event-id'] === undefined) {
      event(response, 1, log('one'));
      first.resolve();
    } else it.end(2, 'succeeded', response);
  });
  const { messages, onEvent } = listener();
  const running = job.client().backup(request, { onEvent });
  await first.promise;
  while (messages().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await job.server.stop();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await job.server.listen();
  assert.deepEqual(await running, result);
});

test('a server that stays away is given up, and the error says which job it was', async () => {
  await using job = await JobServer.start((_, __, response) => {
    stream(response);
    event(response, 1, log('one'));
    breakOff(response);
    void job.server.stop();
  });
  const running = job.client({ silentMs: 60 }).backup(request);
  await assert.rejects(running, {
    code: 'timeout',
    message: /said nothing of the job j\/1 .*look at the server's jobs/,
  });
});

test('a job that fails is the error that it tells; one that was cancelled is cancelled', async () => {
  await using job = await JobServer.start((it, _, response) => {
    stream(response);
    it.end(1, it.error === null ? 'cancelled' : 'failed', response);
  });
  job.result = null;
  job.error = { code: 'no-space', message: 'the repository is full', exitStatus: 19, details: { free: 0 } };
  const full = { code: 'no-space', message: 'the repository is full', exitStatus: 19, details: { free: 0 } };
  await assert.rejects(job.client().backup(request), full);
  job.result = result;
  assert.deepEqual(await job.client().backup(request), result, 'a result says by itself what failed');
  job.error = null;
  await assert.rejects(job.client().backup(request), { code: 'cancelled' });
});

test('results and events that are none are protocol errors', async () => {
  await using job = await JobServer.start((it, _, response) => {
    stream(response);
    it.end(1, 'succeeded', response);
  });
  job.result = { results: 7 };
  await assert.rejects(job.client().backup(request), { code: 'protocol' });
  await using odd = await JobServer.start((_, __, response) => {
    stream(response);
    event(response, 1, { type: 'log' });
  });
  await assert.rejects(odd.client().backup(request), { code: 'protocol' });
  await using page = await JobServer.start((_, __, response) => json(response, {}));
  await assert.rejects(page.client().backup(request), { code: 'protocol' });
});

test('a job that the server does not know any more is not waited for', async () => {
  await using job = await JobServer.start((_, __, response) =>
    problem(response, 'not-found', { status: 404, detail: 'no job j/1' }),
  );
  await assert.rejects(job.client().backup(request), { code: 'not-found', message: 'no job j/1' });
});

test('who cancels, cancels the job, and gets its events until it has ended', async () => {
  let open: ServerResponse | undefined;
  const cancelled = Promise.withResolvers<void>();
  await using job = await JobServer.start(
    (_, __, response) => {
      open = response;
      stream(response);
      event(response, 1, log('one'));
    },
    (it) => ({
      'POST /api/v1/jobs/j%2F1/cancel': (_, response) => {
        it.cancels += 1;
        if (it.cancels === 1) response.destroy();
        else json(response, {});
        if (it.cancels === 2) cancelled.resolve();
      },
    }),
  );
  const stopper = new AbortController();
  const { messages, onEvent } = listener();
  let isSettled = false;
  const running = job.client().backup(request, { onEvent, signal: stopper.signal });
  running.catch(() => undefined).finally(() => (isSettled = true));
  while (messages().length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  stopper.abort();
  await cancelled.promise;
  assert.ok(open);
  event(open, 2, log('cleaning up'));
  while (messages().length === 1) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(isSettled, false);
  job.error = { code: 'cancelled', message: 'cancelled while backing up' };
  job.end(3, 'cancelled', open);
  await assert.rejects(running, { code: 'cancelled', message: 'cancelled while backing up' });
  assert.equal(job.cancels, 2);
});

test('who cancels too late gets the result', async () => {
  await using job = await JobServer.untilCancelled([log('one')], 'succeeded');
  const stopper = new AbortController();
  const onEvent = () => stopper.abort();
  assert.deepEqual(await job.client().backup(request, { onEvent, signal: stopper.signal }), result);
});

test('an export says where it serves; stopping it cancels its job and waits for the end', async () => {
  const uris = [{ disk: 'disk0', uri: 'nbd://127.0.0.1:7/disk0' }];
  const begins = [log('opening'), log('serving', { uris })];
  await using job = await JobServer.untilCancelled(begins, 'cancelled');
  const { messages, onEvent } = listener();
  const handle = await job.client().export({ point: 'latest', listen: '127.0.0.1:7' }, { onEvent });
  assert.deepEqual(handle.uris, uris);
  assert.deepEqual(messages(), ['opening']);
  await handle.stop();
  await handle.stop();
  assert.equal(job.cancels, 1);
});

test('an export that does not come to serve raises why', async () => {
  await using job = await JobServer.start((it, _, response) => {
    it.error = { code: 'not-found', message: 'no point' };
    it.result = null;
    stream(response);
    it.end(1, 'failed', response);
  });
  await assert.rejects(job.client().export({ point: 'x', socket: '/s' }), { code: 'not-found' });
});

test('closing the client cancels its jobs and waits for them', async () => {
  await using job = await JobServer.start((it, _, response) => {
    stream(response);
    event(response, 1, log('one'));
    const timer = setInterval(() => {
      if (it.cancels === 0) return;
      clearInterval(timer);
      it.end(2, 'cancelled', response);
    }, 5);
    void once(response, 'close').then(() => clearInterval(timer));
  });
  const api = job.client();
  const begun = Promise.withResolvers<void>();
  const running = assert.rejects(api.backup(request, { onEvent: () => begun.resolve() }), {
    code: 'cancelled',
  });
  await begun.promise;
  await api.close();
  assert.equal(job.cancels, 1);
  await running;
});
