import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connectPrima, type ServerOptions } from './connect.ts';
import { type Certificate, event, json, log, state, stream, TestServer } from './server-fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'prima-trust-'));
after(() => rmSync(folder, { recursive: true }));

/** A certificate that signs itself, for this name. */
function certificate(name: string): Certificate {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-days', '2'];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...made, ...subject], { stdio: 'ignore' });
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

const own = certificate('localhost');
const other = certificate('prima.example.org');
const fingerprintOf = ({ cert }: { cert: string }) => `sha256:${new X509Certificate(cert).fingerprint256}`;

const start = (tls: Certificate) =>
  TestServer.start(
    { 'POST /api/v1/operations/hostList': (_, response) => json(response, { result: [] }) },
    tls,
  );

async function asking(url: string, trust: Partial<ServerOptions>): Promise<unknown> {
  const api = connectPrima({ url, token: 't', timing: { firstDelayMs: 1 }, ...trust });
  try {
    return await api.hostList();
  } finally {
    await api.close();
  }
}

test('a certificate that nobody vouches for is refused, with what can be done', async () => {
  await using server = await start(own);
  const error = { code: 'permission', message: /cannot be trusted.*name its authority or its fingerprint/ };
  await assert.rejects(asking(server.url, {}), error);
  assert.equal(server.requests.length, 0);
});

test('a server is trusted by its authority, if it has the name', async () => {
  await using server = await start(own);
  assert.deepEqual(await asking(server.url, { ca: own.cert }), []);
  await assert.rejects(asking(server.url, { ca: other.cert }), { code: 'permission' });
  await using named = await start(other);
  await assert.rejects(asking(named.url, { ca: other.cert }), { code: 'permission' });
  assert.equal(named.requests.length, 0);
});

test('a server is trusted by its fingerprint, whatever its name; another one gets nothing', async () => {
  await using server = await start(other);
  const fingerprint = fingerprintOf(other);
  assert.deepEqual(await asking(server.url, { fingerprint }), []);
  assert.deepEqual(
    await asking(server.url, { fingerprint: fingerprint.replaceAll(/:(?!.*sha)/g, ':').toLowerCase() }),
    [],
  );
  assert.equal(server.requests.length, 2);
  const wrong = { code: 'permission', message: new RegExp(fingerprintOf(other).slice(7, 9), 'i') };
  await assert.rejects(asking(server.url, { fingerprint: fingerprintOf(own) }), wrong);
  assert.equal(server.requests.length, 2);
});

test('a job is followed over such connections, too: broken, silent, and cancelled ones', async () => {
  let streams = 0;
  let cancels = 0;
  await using server = await TestServer.start(
    {
      'POST /api/v1/operations/backup': (_, response) => json(response, { job: { id: '1' } }, 202),
      'GET /api/v1/jobs/1': (_, response) => json(response, { state: cancels > 0 ? 'cancelled' : 'running' }),
      'POST /api/v1/jobs/1/cancel': (_, response) => {
        cancels += 1;
        json(response, {});
      },
      'GET /api/v1/jobs/1/events': (_, response) => {
        streams += 1;
        stream(response);
        event(response, streams, log(`stream ${streams}`));
        if (streams === 1) setImmediate(() => response.destroy());
        if (streams < 4) return;
        const timer = setInterval(() => {
          if (cancels === 0) return;
          clearInterval(timer);
          event(response, 9, state('cancelled'));
        }, 5);
      },
    },
    own,
  );
  const stopper = new AbortController();
  const api = connectPrima({
    url: server.url,
    token: 't',
    fingerprint: fingerprintOf(own),
    timing: { firstDelayMs: 1, idleMs: 200 },
  });
  const messages: string[] = [];
  const running = api.backup(
    { sources: ['a'] },
    {
      signal: stopper.signal,
      onEvent: (it) => {
        if (it.type === 'log') messages.push(it.message);
        if (messages.length === 4) stopper.abort();
      },
    },
  );
  await assert.rejects(running, { code: 'cancelled' });
  assert.deepEqual(messages, ['stream 1', 'stream 2', 'stream 3', 'stream 4']);
  assert.equal(cancels, 1);
  await api.close();
});
