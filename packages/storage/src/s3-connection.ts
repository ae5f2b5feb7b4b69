/**
 * The AWS SDK as the S3 store uses it: loaded when the first S3 store is opened, with a bound on requests at a time,
 * an end to what stands still, and its errors in Prima's words.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { getCACertificates } from 'node:tls';
import type { S3, S3ClientConfig } from '@aws-sdk/client-s3';
import { type Clock, KiB, MiB, Semaphore, systemClock, throwIfAborted, toPrimaError } from '@prima/base';
import { standstillMs, type Watch, withIdleLimit } from './idle-limit.ts';
import { s3Error } from './s3-errors.ts';
import { assertProtected, type S3Location } from './s3-location.ts';

/** For tests and unusual networks; the defaults fit a store across the world. */
export interface S3ConnectionOptions {
  /** Until a connection is there. Default 10 s. */
  connectMs?: number;
  /** For a call in which nothing moves: no new attempt, no piece of a body in either direction. Default `standstillMs`. */
  idleMs?: number;
  /** Attempts at one request, with a growing random pause between them. Default 4. */
  attempts?: number;
  /** Instead of those that the environment or a profile names. */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
  /** Measures `idleMs`. */
  clock?: Clock;
}

/** What an operation gets: the client, what to give it with each request, and what to call when bytes of a body came. */
export type S3Operation<T> = (
  s3: S3,
  settings: { abortSignal: AbortSignal },
  alive: () => void,
) => Promise<T>;

export interface S3CallOptions {
  signal?: AbortSignal | undefined;
  /** The server may think about it for minutes. Default false. */
  isSlow?: boolean;
}

/** Requests at a time, and so sockets. */
const maxRequests = 16;
/** A body is sent in such pieces; each that the connection takes is a sign of life. */
const pieceBytes = 64 * KiB;
/** What the system may hold of a body that was sent (Linux: the end of tcp_wmem): its way is not seen here. */
const hiddenBytes = 4 * MiB;
/** Times that an operation may take longer about which the server thinks. */
const slowness = 5;

export class S3Connection {
  readonly location: S3Location;
  readonly #s3: S3;
  readonly #idleMs: number;
  readonly #clock: Clock;
  /** The call that a request belongs to. */
  readonly #calls: AsyncLocalStorage<Watch>;
  readonly #places = new Semaphore(maxRequests);

  private constructor(
    location: S3Location,
    parts: { s3: S3; calls: AsyncLocalStorage<Watch>; idleMs: number; clock: Clock },
  ) {
    this.location = location;
    this.#s3 = parts.s3;
    this.#calls = parts.calls;
    this.#idleMs = parts.idleMs;
    this.#clock = parts.clock;
  }

  /** Loads the SDK and sets it up; speaks to nobody yet. Raises what reading the `ca` file raises. */
  static async open(location: S3Location, options: S3ConnectionOptions = {}): Promise<S3Connection> {
    const { S3 } = await import('@aws-sdk/client-s3');
    const { idleMs = standstillMs, clock = systemClock } = options;
    const calls = new AsyncLocalStorage<Watch>();
    const s3 = new S3(await clientConfig(location, options));
    s3.middlewareStack.add((next) => (args) => next({ ...args, request: prepared(args.request, location) }), {
      name: 'primaRequest',
      step: 'build',
      priority: 'low',
    });
    // innermost, so that each attempt sends the body from its beginning
    s3.middlewareStack.add(
      (next) => (args) =>
        next({ ...args, request: moving(args.request, { watch: calls.getStore(), clock }) }),
      { name: 'primaMovingBody', step: 'deserialize', priority: 'low' },
    );
    return new S3Connection(location, { s3, calls, idleMs, clock });
  }

  /** The key in the bucket of an object's key. */
  keyOf(key: string): string {
    return this.location.prefix + key;
  }

  /** Bucket and key, as requests want them. */
  object(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.location.bucket, Key: this.keyOf(key) };
  }

  /**
   * Runs one operation when there is a place for it, for as long as something moves. Raises `timeout`, `cancelled` and
   * what `s3Error` makes of the rest.
   * @param doing what is being done, without the store's name: "reading config"
   */
  async call<T>(doing: string, options: S3CallOptions, operation: S3Operation<T>): Promise<T> {
    const { signal, isSlow = false } = options;
    const what = `${doing} in ${this.location.url}`;
    throwIfAborted(signal, what);
    const limitMs = this.#idleMs * (isSlow ? slowness : 1);
    try {
      return await this.#places.run(() =>
        withIdleLimit({ doing: what, limitMs, clock: this.#clock, ...(signal && { signal }) }, (watch) =>
          this.#calls.run(watch, () =>
            operation(this.#s3, { abortSignal: watch.signal }, () => watch.alive()),
          ),
        ),
      );
    } catch (error) {
      throw s3Error(error, what, this.location);
    }
  }

  /** Closes the connections that are kept. May be called again. */
  close(): void {
    this.#s3.destroy();
  }
}

async function clientConfig(location: S3Location, options: S3ConnectionOptions): Promise<S3ClientConfig> {
  const { connectMs = 10_000, attempts = 4, credentials } = options;
  const { AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const byEnvironment = AWS_REGION ?? AWS_DEFAULT_REGION;
  // other servers than AWS seldom care for the region, but every signature has one
  const region =
    location.region ?? byEnvironment ?? (location.endpoint === undefined ? undefined : 'us-east-1');
  const ca = location.ca === undefined ? undefined : await certificates(location.ca);
  const agent = { keepAlive: true, maxSockets: maxRequests };
  return {
    ...(location.endpoint !== undefined && { endpoint: location.endpoint }),
    ...(region !== undefined && { region }),
    ...(credentials && { credentials }),
    forcePathStyle: location.pathStyle,
    retryMode: 'standard',
    maxAttempts: attempts,
    expectContinueHeader: false, // with it each large body gets a connection of its own
    requestChecksumCalculation: 'WHEN_REQUIRED', // bodies get a SHA-256 of ours
    responseChecksumValidation: 'WHEN_REQUIRED', // asked for where it can be had
    requestHandler: {
      connectionTimeout: connectMs,
      socketTimeout: 0, // what stands still is ours to tell, and what is only slow
      httpAgent: agent,
      httpsAgent: { ...agent, ...(ca && { ca }) },
    },
  };
}

/** The system's authorities and those of the file. */
async function certificates(path: string): Promise<string[]> {
  try {
    return [...getCACertificates('default'), await readFile(path, 'utf8')];
  } catch (error) {
    throw toPrimaError(error, `reading the certificates ${path} of an S3 store`);
  }
}

/**
 * Each request before it is signed. A body's SHA-256 goes into the signature too: servers that do not know the header
 * for checksums verify the body all the same, and nothing is hashed twice. An endpoint that came from the environment
 * is held to what is asked of one in the URL.
 */
function prepared(request: unknown, location: S3Location): unknown {
  const { protocol, hostname, headers } = request as {
    protocol: string;
    hostname: string;
    headers: Record<string, string>;
  };
  assertProtected({ protocol, hostname }, location.insecure);
  const sum = headers['x-amz-checksum-sha256'];
  if (sum !== undefined) headers['x-amz-content-sha256'] = Buffer.from(sum, 'base64').toString('hex');
  return request;
}

/**
 * The request as one attempt, which is a sign of life, and its body as a stream of pieces, each of which is another. The last
 * piece is taken while some of those before are still on their way, for as long as such a length took before.
 */
function moving(request: unknown, { watch, clock }: { watch: Watch | undefined; clock: Clock }): unknown {
  watch?.alive();
  const { body } = request as { body?: unknown };
  if (!watch || !(body instanceof Uint8Array) || body.length <= pieceBytes) return request;
  const pieces = function* () {
    const hiddenFrom = Math.max(0, body.length - hiddenBytes - pieceBytes);
    let since = clock.monotonic();
    for (let at = 0; at < body.length; at += pieceBytes) {
      if (at <= hiddenFrom) since = clock.monotonic();
      watch.alive(clock.monotonic() - since);
      yield Buffer.from(body.buffer, body.byteOffset + at, Math.min(pieceBytes, body.length - at));
    }
  };
  return Object.assign(Object.create(Object.getPrototypeOf(request) as object), request, {
    body: Readable.from(pieces()),
  }) as unknown;
}
