/** Other ends of notification channels: an HTTP server that verifies signatures as the documentation says, and an SMTP server with STARTTLS and sign-in. */
import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Certificates, type Cleanup, temporaryFolder } from '@prima/testbed';
import { SMTPServer } from 'smtp-server';

export const signingSecret = 'a-secret-that-signs-what-is-sent';
export const mailPassword = 'the-password-of-the-mailbox';

export interface Received {
  method: string;
  url: string;
  headers: IncomingHttpHeaders;
  body: { id: string; event: string; title: string; lines: string[]; organisation: string };
}

export interface Receiver {
  url: string;
  got: Received[];
  /** What it answers; others than 2xx are not kept in `got`. */
  status: number;
  refused: number;
}

export async function receiver(test: Cleanup): Promise<Receiver> {
  const world: Receiver = { url: '', got: [], status: 200, refused: 0 };
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url = '', headers } = request;
      if (headers['x-prima-signature'] !== undefined) assert.ok(isSigned(headers, body));
      if (world.status < 300)
        world.got.push({ method, url, headers, body: JSON.parse(body) as Received['body'] });
      else world.refused += 1;
      response.writeHead(world.status).end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  world.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  test.after(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return world;
}

function isSigned(headers: IncomingHttpHeaders, body: string): boolean {
  const timestamp = String(headers['x-prima-timestamp']);
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > 300) return false;
  const wanted = `sha256=${createHmac('sha256', signingSecret).update(`${timestamp}.${body}`).digest('hex')}`;
  const found = String(headers['x-prima-signature']);
  return found.length === wanted.length && timingSafeEqual(Buffer.from(found), Buffer.from(wanted));
}

export interface MailWorld {
  port: number;
  /** PEM, of the authority that vouches for it. */
  ca: string;
  got: { from: string; to: string[]; text: string; isSecure: boolean; user: string }[];
}

export async function mailServer(test: Cleanup): Promise<MailWorld> {
  const certificates = new Certificates(await temporaryFolder(test));
  await certificates.makeAuthority('ca');
  await certificates.makeCertificate('mail', 'ca', 'IP:127.0.0.1,DNS:localhost');
  const [ca = '', cert = '', key = ''] = await Promise.all(
    [certificates.cert('ca'), certificates.cert('mail'), certificates.key('mail')].map((path) =>
      readFile(path, 'utf8'),
    ),
  );
  const world: MailWorld = { port: 0, ca, got: [] };
  const server = new SMTPServer({
    cert,
    key,
    authMethods: ['PLAIN', 'LOGIN'],
    onAuth: ({ username, password }, _session, done) => {
      if (username === 'prima' && password === mailPassword) done(null, { user: username });
      else done(new Error(`wrong: ${String(password)}`));
    },
    onData: (stream, { envelope, secure, user }, done) => {
      let mail = '';
      stream.on('data', (part: Buffer) => {
        mail += part.toString();
      });
      stream.on('end', () => {
        const { mailFrom, rcptTo } = envelope;
        world.got.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text: mail,
          isSecure: secure,
          user: String(user),
        });
        done();
      });
    },
  });
  server.on('error', () => undefined); // clients that leave in between
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  world.port = (server.server.address() as AddressInfo).port;
  test.after(() => new Promise<void>((resolve) => server.close(resolve)));
  return world;
}
