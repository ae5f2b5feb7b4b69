import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connectPrima, type ServerOptions } from './connect.ts';

const folder = mkdtempSync(join(tmpdir(), 'prima-trust-'));
after(() => rmSync(folder, { recursive: true }));

/** A certificate that signs itself, for this name. */
function certificate(name: string): { key: string; cert: string } {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-days', '2'];
  const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-keyout', key, '-out', cert];
  execFileSync('openssl', ['req', '-x509', '-nodes', ...made, ...subject], { stdio: 'ignore' });
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

const own = certificate('localhost');
const other = certificate('prima.example.org');
const fingerprintOf = ({ cert }: { cert: string }) => `sha256:${new X509Certificate(cert).fingerprint256}`;

async function start({ key, cert }: { key: string; cert: string }) {
  let requests = 0;
  const server = createServer({ key, cert }, (request, response) => {
    requests += 1;
    request.resume();
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"result":[]}');
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requests: () => requests,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

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
  assert.equal(server.requests(), 0);
});

test('a server is trusted by its authority, if it has the name', async () => {
  await using server = await start(own);
  assert.deepEqual(await asking(server.url, { ca: own.cert }), []);
  await assert.rejects(asking(server.url, { ca: other.cert }), { code: 'permission' });
  await using named = await start(other);
  await assert.rejects(asking(named.url, { ca: other.cert }), { code: 'permission' });
  assert.equal(named.requests(), 0);
});

test('a server is trusted by its fingerprint, whatever its name; another one gets nothing', async () => {
  await using server = await start(other);
  const fingerprint = fingerprintOf(other);
  assert.deepEqual(await asking(server.url, { fingerprint }), []);
  assert.deepEqual(
    await asking(server.url, { fingerprint: fingerprint.replaceAll(/:(?!.*sha)/g, ':').toLowerCase() }),
    [],
  );
  assert.equal(server.requests(), 2);
  const wrong = { code: 'permission', message: new RegExp(fingerprintOf(other).slice(7, 9), 'i') };
  await assert.rejects(asking(server.url, { fingerprint: fingerprintOf(own) }), wrong);
  assert.equal(server.requests(), 2);
});
