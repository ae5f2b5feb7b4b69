/**
 * Where an S3 store is: `s3://BUCKET[/PREFIX][?endpoint=…&region=…&path-style=…&ca=…&lock=…&insecure=…]`.
 * Never a secret: access keys come from the environment or the profile files of the AWS tools.
 */
import { UserError } from '@prima/base';

/** Who may end a retention early: nobody, or who has been given `s3:BypassGovernanceRetention`. */
export type S3Lock = 'compliance' | 'governance';

export interface S3Location {
  bucket: string;
  /** Put before every key: empty, or segments that end in `/`. */
  prefix: string;
  /** Of a server other than AWS, `http(s)://host[:port]`. */
  endpoint?: string;
  /** Undefined: what the environment or the profile says. */
  region?: string;
  /** The bucket in the path (`host/bucket`) instead of in the name (`bucket.host`). Default: with an endpoint. */
  pathStyle: boolean;
  /** A file of certificates (PEM) that the server's may be signed with, besides the system's. */
  ca?: string;
  /** The store keeps objects by object lock. */
  lock?: S3Lock;
  /** Plain HTTP to other machines is allowed. */
  insecure: boolean;
  /** The URL again, for messages. */
  url: string;
}

const parameters = new Set(['endpoint', 'region', 'path-style', 'ca', 'lock', 'insecure']);
const bucketPattern = /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/;
const prefixPattern = /^(?:[A-Za-z0-9_][A-Za-z0-9!_.*'()-]*\/)*$/;

/** Reads the URL of an S3 store. Raises `usage` with what is wrong and what is right; never repeats a password. */
export function parseS3Location(text: string): S3Location {
  const parsed = parseUrl(text);
  if (parsed.username !== '' || parsed.password !== '') {
    throw wrong(
      'an S3 URL holds no keys: give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE',
    );
  }
  for (const name of parsed.searchParams.keys()) {
    if (!parameters.has(name)) {
      throw wrong(`an S3 URL has no parameter "${name}"; there are ${[...parameters].join(', ')}`);
    }
    if (parsed.searchParams.getAll(name).length > 1) throw wrong(`"${name}" is given twice`);
  }
  const value = (name: string) => parsed.searchParams.get(name) ?? undefined;
  const insecure = flag('insecure', value('insecure')) ?? false;
  const endpoint = endpointOf(value('endpoint'), insecure);
  const lock = lockOf(value('lock'));
  const region = value('region');
  if (region !== undefined && !/^[a-z0-9-]{1,40}$/i.test(region)) throw wrong(`"${region}" is no region`);
  return {
    bucket: bucketOf(parsed.host),
    prefix: prefixOf(parsed.pathname),
    ...(endpoint !== undefined && { endpoint }),
    ...(region !== undefined && { region }),
    pathStyle: flag('path-style', value('path-style')) ?? endpoint !== undefined,
    ...(value('ca') !== undefined && { ca: value('ca') }),
    ...(lock && { lock }),
    insecure,
    url: text,
  };
}

/** True for the machine itself: what is sent there passes no network. */
function isLoopback(hostname: string): boolean {
  return /^(?:127(?:\.\d{1,3}){3}|localhost|\[?::1\]?)$/i.test(hostname);
}

function parseUrl(text: string): URL {
  const url = URL.parse(text);
  if (!url || url.protocol !== 's3:' || url.hash !== '') {
    throw wrong(
      'this is no S3 URL; write s3://BUCKET/PREFIX, with ?endpoint=https://HOST for other servers than AWS',
    );
  }
  return url;
}

function bucketOf(host: string): string {
  if (bucketPattern.test(host)) return host;
  throw wrong(`"${host}" is no name of a bucket: 3 to 63 lower-case letters, digits, "-" and "."`);
}

function prefixOf(path: string): string {
  const trimmed = path.replace(/^\//, '').replace(/\/$/, '');
  const prefix = trimmed === '' ? '' : `${trimmed}/`;
  if (prefix.length <= 512 && prefixPattern.test(prefix)) return prefix;
  throw wrong(`"${trimmed}" is no prefix: segments of letters, digits and !_.*'()- joined by "/"`);
}

function endpointOf(text: string | undefined, insecure: boolean): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  const plain =
    url?.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '' &&
    url.pathname === '/';
  if (!url || !plain || !['http:', 'https:'].includes(url.protocol)) {
    throw wrong(
      'the endpoint is none: write endpoint=https://HOST or https://HOST:PORT, and nothing else in it',
    );
  }
  assertProtected(url, insecure);
  return url.origin;
}

/** Raises `usage` when data would go to another machine over plain HTTP, unless that was asked for. */
export function assertProtected(url: { protocol: string; hostname: string }, insecure: boolean): void {
  if (url.protocol === 'https:' || insecure || isLoopback(url.hostname)) return;
  throw wrong(
    `${url.hostname} would be spoken to over plain HTTP, so that anyone on the way sees and changes requests; use https://, or say insecure=true`,
  );
}

function lockOf(text: string | undefined): S3Lock | undefined {
  if (text === undefined || text === 'compliance' || text === 'governance') return text;
  throw wrong(`"${text}" is no kind of lock; write lock=compliance or lock=governance`);
}

function flag(name: string, text: string | undefined): boolean | undefined {
  if (text === undefined) return undefined;
  if (text === 'true' || text === 'false') return text === 'true';
  throw wrong(`${name}=${text}: write ${name}=true or ${name}=false`);
}

function wrong(what: string): UserError {
  return new UserError('usage', `opening an S3 store: ${what}`);
}
