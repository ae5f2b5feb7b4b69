/**
 * The AWS SDK as the S3 store uses it: loaded when the first S3 store is opened, with a bound on requests at a time,
 * a deadline on each, and its errors in Prima's words.
 */
import { readFile } from 'node:fs/promises';
import { getCACertificates } from 'node:tls';
import type { S3, S3ClientConfig } from '@aws-sdk/client-s3';
import { MiB, Semaphore, throwIfAborted, toPrimaError, withDeadline } from '@prima/base';
import { s3Error } from './s3-errors.ts';
import { assertProtected, type S3Location } from './s3-location.ts';

/** For tests and unusual networks; the defaults fit a store across the world. */
export interface S3ConnectionOptions {
  /** Until a connection is there. Default 10 s. */
  connectMs?: number;
  /** Without a byte in either direction. Default 30 s. */
  idleMs?: number;
  /** For a whole call with its repetitions; a quarter of a second more for each MiB. Default 5 min. */
  callMs?: number;
  /** Attempts at one request, with a growing random pause between them. Default 4. */
  attempts?: number;
  /** Instead of those that the environment or a profile names. */
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

/** What an operation gets: the client, and what to give it with each request. */
export type S3Operation<T> = (s3: S3, settings: { abortSignal: AbortSignal }) => Promise<T>;

export interface S3CallOptions {
  signal?: AbortSignal | undefined;
  /** Bytes that go over the wire, for the deadline. Default 0. */
  bytes?: number;
}

/** Requests at a time, and so sockets. */
const maxRequests = 16;
/** What the length of a body may add to a deadline: an hour, for 14 GiB. */
const longestExtraMs = 3_600_000;

export class S3Connection {
  readonly location: S3Location;
  readonly #s3: S3;
  readonly #callMs: number;
  readonly #places = new Semaphore(maxRequests);

  private constructor(location: S3Location, s3: S3, callMs: number) {
    this.location = location;
    this.#s3 = s3;
    this.#callMs = callMs;
  }

  /** Loads the SDK and sets it up; speaks to nobody yet. Raises what reading the `ca` file raises. */
  static async open(location: S3Location, options: S3ConnectionOptions = {}): Promise<S3Connection> {
    const { S3 } = await import('@aws-sdk/client-s3');
    const s3 = new S3(await clientConfig(location, options));
    s3.middlewareStack.add((next) => (args) => next({ ...args, request: prepared(args.request, location) }), {
      name: 'primaRequest',
      step: 'build',
      priority: 'low',
    });
    return new S3Connection(location, s3, options.callMs ?? 300_000);
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
   * Runs one operation when there is a place for it, within its deadline. Raises `timeout`, `cancelled` and
   * what `s3Error` makes of the rest.
   * @param doing what is being done, without the store's name: "reading config"
   */
  async call<T>(doing: string, options: S3CallOptions, operation: S3Operation<T>): Promise<T> {
    const { signal, bytes = 0 } = options;
    const what = `${doing} in ${this.location.url}`;
    throwIfAborted(signal, what);
    const deadlineMs = this.#callMs + Math.min((bytes / MiB) * 250, longestExtraMs);
    try {
      return await this.#places.run(() =>
        withDeadline(deadlineMs, what, (abortSignal) => operation(this.#s3, { abortSignal }), signal),
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
  const { connectMs = 10_000, idleMs = 30_000, attempts = 4, credentials } = options;
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
      socketTimeout: idleMs,
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
