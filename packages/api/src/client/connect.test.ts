import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCodes, seededRandom } from '@prima/base';
import type { PrimaApi } from '../contract.ts';
import { connectPrima, type ServerOptions } from './connect.ts';
import { json, problem, type Route, TestServer } from './server-fixture.ts';

const token = 'prima_0123456789';
const quick = (name: string) => `POST /api/v1/operations/${name}`;
const timing = { firstDelayMs: 1, delayAtMostMs: 5 };

function clientOf(server: TestServer, more: Partial<ServerOptions> = {}): PrimaApi {
  return connectPrima({ url: server.url, token, timing, random: seededRandom(3), ...more });
}

const hosts = [{ name: 'lab', platform: 'qemu', location: '/m' }];

/** The routes in turn, the last one for all further requests. */
function inTurn(...routes: Route[]): Route {
  let at = 0;
  return (request, response) => {
    const route = routes[Math.min(at, routes.length - 1)];
    at += 1;
    return route?.(request, response);
  };
}

test('a quick operation: its name, repository, token and request go, its result comes', async () => {
  await using server = await TestServer.start({
    [quick('points')]: (_, response) => json(response, { result: [] }),
    [quick('keyRemove')]: (_, response) => json(response, { result: null }),
    [quick('hostList')]: (_, response) => json(response, { result: hosts, tomorrow: 1 }),
  });
  const api = clientOf(server, { url: `${server.url}/`, repository: 'main & more' });
  assert.deepEqual(await api.points({ machine: 'web01', tags: undefined }), []);
  assert.equal(await api.keyRemove({ id: 'k1' }), undefined);
  assert.deepEqual(await api.hostList(), hosts);
  const [first, second, third] = server.requests;
  assert.equal(first?.path, '/api/v1/operations/points?repository=main%20%26%20more');
  assert.equal(first?.headers.authorization, `Bearer ${token}`);
  assert.equal(first?.headers['content-type'], 'application/json');
  assert.deepEqual(first?.body, { machine: 'web01' });
  assert.deepEqual(second?.body, { id: 'k1' });
  assert.deepEqual(third?.body, {});
  await api.close();
});

test('a picture comes as its bytes; anything else in its place is refused', async () => {
  const png = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0, 255]);
  await using server = await TestServer.start({
    [quick('machineScreenshot')]: inTurn(
      (_, response) => response.writeHead(200, { 'content-type': 'image/png' }).end(png) && undefined,
      (_, response) => json(response, { result: 'x' }),
    ),
  });
  const api = clientOf(server);
  assert.deepEqual(new Uint8Array(await api.machineScreenshot({ machine: 'lab/a' })), png);
  await assert.rejects(api.machineScreenshot({ machine: 'lab/a' }), { code: 'protocol' });
});

test('a problem is the same error here: code, message, details, exit status', async () => {
  await using server = await TestServer.start({
    [quick('show')]: inTurn(
      (_, response) =>
        problem(response, 'ambiguous', { status: 409, detail: 'two points', details: { ids: ['a', 'b'] } }),
      (_, response) => problem(response, 'too-modern', { status: 418, detail: 'a teapot', retryable: true }),
    ),
  });
  const api = clientOf(server);
  await assert.rejects(api.show({ point: 'a' }), {
    code: 'ambiguous',
    message: 'two points',
    details: { ids: ['a', 'b'] },
    exitStatus: errorCodes.ambiguous.exit,
    retryable: false,
  });
  await assert.rejects(api.show({ point: 'a' }), { code: 'remote', message: /a teapot \(too-modern/ });
});

test('a request that is wrong, and an operation that does not go over HTTP, are not sent', async () => {
  await using server = await TestServer.start({});
  const api = clientOf(server);
  await assert.rejects(api.backup({ sources: [] }), { code: 'usage', message: /sources/ });
  await assert.rejects(api.demo({}), { code: 'unsupported', message: /without a server/ });
  const signal = AbortSignal.abort();
  await assert.rejects(api.backup({ sources: ['a'] }, { signal }), { code: 'cancelled' });
  assert.deepEqual(server.requests, []);
});

const garbage: Record<string, Route> = {
  'a page': (_, response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<html>') && undefined,
  'another shape': (_, response) => json(response, { result: [{ name: 7 }] }),
  'no object': (_, response) => json(response, 7),
  'no result': (_, response) => json(response, {}),
  'no text': (_, response) => response.writeHead(200).end(Buffer.from([0xff, 0xfe])) && undefined,
};

for (const [name, route] of Object.entries(garbage)) {
  test(`an answer that is none is a protocol error: ${name}`, async () => {
    await using server = await TestServer.start({ [quick('hostList')]: route });
    await assert.rejects(clientOf(server).hostList(), { code: 'protocol' });
    assert.equal(server.requests.length, 1);
  });
}

const gateway: Route = (_, response) => response.writeHead(502).end('<html>bad gateway') && undefined;
const drop: Route = (_, response) => response.destroy() && undefined;
const half: Route = (_, response) => {
  response.writeHead(200, { 'content-length': '100' }).write('{"result"');
  setImmediate(() => response.destroy());
};
const good: Route = (_, response) => json(response, { result: hosts });

for (const [name, route] of Object.entries({ gateway, drop, half })) {
  test(`what reads is asked again, what changes something is not: ${name}`, async () => {
    await using server = await TestServer.start({
      [quick('hostList')]: inTurn(route, route, good),
      [quick('hostRemove')]: route,
    });
    const api = clientOf(server);
    assert.deepEqual(await api.hostList(), hosts);
    assert.equal(server.requests.length, 3);
    await assert.rejects(api.hostRemove({ name: 'lab' }), { code: 'remote', retryable: true });
    assert.equal(server.requests.length, 4);
  });
}

test('tries end', async () => {
  await using server = await TestServer.start({ [quick('hostList')]: gateway });
  const error = { code: 'remote', message: /operations\/hostList answered 502/ };
  await assert.rejects(clientOf(server, { timing: { ...timing, tries: 4 } }).hostList(), error);
  assert.equal(server.requests.length, 4);
});

test('what a server puts off has not been done, so it is asked again, also what changes something', async () => {
  const later =
    (status: number): Route =>
    (_, response) => {
      response.setHeader('retry-after', '0');
      problem(response, 'busy', { status, detail: 'later' });
    };
  await using server = await TestServer.start({
    [quick('hostRemove')]: inTurn(later(429), later(503), (_, response) => json(response, { result: null })),
  });
  await clientOf(server).hostRemove({ name: 'lab' });
  assert.equal(server.requests.length, 3);
});

test('nobody listens: said with the address', async () => {
  const server = await TestServer.start({});
  const api = clientOf(server);
  await server.stop();
  const error = { code: 'remote', message: new RegExp(`connecting to ${server.url}: .*ECONNREFUSED`) };
  await assert.rejects(api.hostAdd({ name: 'lab', platform: 'qemu', location: '/m' }), error);
});

test('no answer in time is a timeout; a caller that has enough ends the wait', async () => {
  await using server = await TestServer.start({ [quick('hostList')]: () => undefined });
  const late = clientOf(server, { timing: { ...timing, quickMs: 40 } });
  await assert.rejects(late.hostList(), { code: 'timeout', message: /hostList: no answer within 0\.04 s/ });
  const stopper = new AbortController();
  const waiting = clientOf(server).hostList({ signal: stopper.signal });
  while (server.requests.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  stopper.abort();
  await assert.rejects(waiting, { code: 'cancelled' });
});

test('a token is taken nowhere else', async () => {
  await using other = await TestServer.start({ [quick('hostList')]: good });
  await using server = await TestServer.start({
    [quick('hostList')]: (_, response) =>
      response.writeHead(307, { location: `${other.url}/api/v1/operations/hostList` }).end() && undefined,
  });
  await assert.rejects(clientOf(server).hostList(), { code: 'remote' });
  assert.deepEqual(other.requests, []);
});

test('a client that is closed ends its calls and takes no others', async () => {
  await using server = await TestServer.start({ [quick('hostList')]: () => undefined });
  const api = clientOf(server);
  const waiting = assert.rejects(api.hostList(), { code: 'cancelled' });
  while (server.requests.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  await api.close();
  await waiting;
  await assert.rejects(api.hostList(), { code: 'cancelled' });
});

test('addresses and tokens that make no sense are refused at once', () => {
  const refused: [Partial<ServerOptions>, RegExp][] = [
    [{ url: 'prima.example.org' }, /write https/],
    [{ url: 'ftp://prima.example.org' }, /write https/],
    [{ url: 'http://prima.example.org' }, /without TLS everybody/],
    [{ url: 'http://127.0.0.1.example.org' }, /without TLS everybody/],
    [{ url: 'https://ada:secret@prima.example.org' }, /no user/],
    [{ url: 'https://prima.example.org/?a=b' }, /question mark/],
    [{ token: '' }, /token is empty/],
    [{ token: 'a\r\nx: y' }, /odd characters/],
    [{ fingerprint: 'sha256:12' }, /no fingerprint/],
    [{ ca: 'nothing' }, /no certificate in PEM/],
    [{ url: 'http://localhost', fingerprint: `sha256:${'0'.repeat(64)}` }, /has no certificate/],
  ];
  for (const [options, message] of refused) {
    assert.throws(
      () => connectPrima({ url: 'https://prima.example.org', token, ...options }),
      (error: Error) => 'code' in error && error.code === 'usage' && message.test(error.message),
      String(message),
    );
  }
  for (const url of ['https://h/prima/', 'http://localhost:7', 'http://[::1]:7', 'http://127.0.0.1:7'])
    assert.ok(connectPrima({ url, token }));
});
