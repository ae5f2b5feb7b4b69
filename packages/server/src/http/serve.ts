/** The server: its service, its certificate, its socket. */
import { createServer as createPlainServer } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { serve, type ServerType } from '@hono/node-server';
import { type Logger, PrimaError, systemErrorCode, toPrimaError, UserError } from '@prima/base';
import { openHome } from '../home.ts';
import type { NotificationTimes } from '../notifications/notifications.ts';
import { openService } from '../service/service.ts';
import { buildApp } from './app.ts';
import { certificateOf } from './certificate.ts';

export interface ServerOptions {
  home: string;
  /** `HOST:PORT`; port 0 is a free one. */
  listen: string;
  /** A file's path or `postgres://…`; default a file in the home folder. */
  database?: string | undefined;
  /** PEM files; default: one of its own making. */
  tls?: { cert: string; key: string } | undefined;
  /** Plain HTTP; on loopback only. */
  plain?: boolean | undefined;
  /** The panel's files. */
  panel?: string | undefined;
  /** Jobs that run at the same time. */
  atOnce?: number | undefined;
  /** The server's own address, as browsers have it; without a path. */
  publicUrl?: string | undefined;
  notificationTimes?: NotificationTimes | undefined;
  logger: Logger;
}

export interface RunningServer {
  url: string;
  /** Of the certificate: what clients pin. */
  fingerprint?: string;
  /** Once, while nobody has an account: where the first one is made. */
  firstLink?: string;
  /** What runs is taken back and goes on at the next start. */
  close(): Promise<void>;
}

const requestTimeoutMs = 60_000;
const headersTimeoutMs = 20_000;
/** Event streams end when their reader leaves; they are cut then. */
const closeAfterMs = 2000;

/** Raises `usage`, `busy`, `io`, `integrity`, `remote`, `newer-version`. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { logger, plain = false, panel, database, atOnce, publicUrl } = options;
  const { host, port } = placeOf(options.listen);
  if (plain && !isLoopback(host))
    throw new UserError(
      'usage',
      'plain HTTP is for loopback only; leave it to TLS, or put a proxy before it',
    );
  const { folder: home } = await openHome(options.home);
  const certificate = plain ? undefined : await certificateOf(home, options.tls);
  const service = await openService({
    home,
    logger,
    ...(database === undefined ? {} : { database }),
    ...(atOnce === undefined ? {} : { atOnce }),
    ...(publicUrl === undefined ? {} : { publicUrl: originOf(publicUrl) }),
    ...(options.notificationTimes ? { notificationTimes: options.notificationTimes } : {}),
  });
  try {
    const app = buildApp(service, { isSecure: !plain, panel });
    const server = await listen(app.fetch, { host, port, certificate });
    const { port: bound } = server.address() as AddressInfo;
    const url = `${plain ? 'http' : 'https'}://${host.includes(':') ? `[${host}]` : host}:${bound}`;
    return {
      url,
      ...(certificate ? { fingerprint: certificate.fingerprint } : {}),
      ...(service.firstLink === undefined ? {} : { firstLink: `${url}${service.firstLink}` }),
      close: async () => {
        await service.runner.close();
        await end(server);
        await service.close();
      },
    };
  } catch (error) {
    await service.close();
    throw listenFailure(error, options.listen);
  }
}

function listenFailure(error: unknown, listen: string): PrimaError {
  const system = systemErrorCode(error);
  if (system === 'EADDRINUSE')
    return new PrimaError(
      'busy',
      `another program listens on ${listen}; end it, or choose another --listen`,
      {
        cause: error,
      },
    );
  if (system === 'EADDRNOTAVAIL')
    return new UserError('usage', `${listen} is no address of this computer; choose another --listen`, {
      cause: error,
    });
  return toPrimaError(error, `listening on ${listen}`);
}

function placeOf(listen: string): { host: string; port: number } {
  const [, bracketed, name, digits = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(listen) ?? [];
  const host = bracketed ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535)
    throw new UserError(
      'usage',
      `"${listen}" is no place to listen on: HOST:PORT was wanted, as 127.0.0.1:8750`,
    );
  return { host, port };
}

function originOf(publicUrl: string): string {
  const url = URL.canParse(publicUrl) ? new URL(publicUrl) : undefined;
  const isOrigin = url && url.pathname === '/' && url.search === '' && url.hash === '' && url.username === '';
  if (isOrigin && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname))))
    return url.origin;
  throw new UserError(
    'usage',
    `"${publicUrl}" is not an address of this server: https://HOST or https://HOST:PORT was wanted`,
  );
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || host.startsWith('127.');

async function listen(
  fetch: Parameters<typeof serve>[0]['fetch'],
  {
    host,
    port,
    certificate,
  }: { host: string; port: number; certificate: { cert: string; key: string } | undefined },
): Promise<ServerType> {
  const started = Promise.withResolvers<void>();
  const server = serve(
    {
      fetch,
      hostname: host,
      port,
      ...(certificate
        ? {
            createServer,
            serverOptions: { cert: certificate.cert, key: certificate.key, minVersion: 'TLSv1.2' },
          }
        : { createServer: createPlainServer }),
    },
    () => started.resolve(),
  );
  server.once('error', started.reject);
  await started.promise;
  Object.assign(server, { headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs });
  return server;
}

async function end(server: ServerType): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => (server as Server).closeAllConnections(), closeAfterMs);
  (server as Server).closeIdleConnections();
  await closed;
  clearTimeout(timer);
}
