/** What an S3 server, the network or the SDK says, in the words of Prima's errors. */
import {
  IntegrityError,
  isAbortError,
  PrimaError,
  ProtocolError,
  RemoteError,
  StorageError,
  systemErrorCode,
  toPrimaError,
} from '@prima/base';
import type { S3Location } from './s3-location.ts';

/** The parts of an SDK error that are looked at; all may be absent. */
interface SdkError extends Error {
  Code?: string;
  /** The right region, where the server names it. */
  Region?: string;
  $metadata?: { httpStatusCode?: number; attempts?: number };
}

const denied = new Set(['AccessDenied', 'AllAccessDisabled', 'AccountProblem', 'UnauthorizedAccess']);
const wrongCredentials: Partial<Record<string, string>> = {
  InvalidAccessKeyId: 'it does not know this access key',
  SignatureDoesNotMatch: 'the secret key is not the one of this access key',
  ExpiredToken: 'the temporary credentials have expired',
  InvalidToken: 'the session token is not valid',
  TokenRefreshRequired: 'the temporary credentials have expired',
};
const unreachable = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
]);
const untrusted =
  /^(?:DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_\w+)$/;

/**
 * The error for a call that failed. `details` has the server's `status` and its code `s3`, and how many `attempts`
 * were made.
 * @param doing what was being done, to what: "reading config in s3://bucket"
 */
export function s3Error(raised: unknown, doing: string, location: S3Location): PrimaError {
  if (raised instanceof PrimaError) return raised;
  if (!(raised instanceof Error) || isAbortError(raised)) return toPrimaError(raised, doing);
  const error: SdkError = raised;
  const system = networkCode(error); // first: the SDK calls a lost connection a TimeoutError
  if (system === undefined && error.name === 'TimeoutError') return toPrimaError(error, doing);
  return system === undefined
    ? answeredError(error, doing, location)
    : connectionError(error, system, `${doing}: ${where(location)}`);
}

/** The HTTP status with which the server answered, or undefined. */
export function statusOf(error: unknown): number | undefined {
  const status = error instanceof PrimaError ? error.details['status'] : undefined;
  return typeof status === 'number' ? status : undefined;
}

/** True when the request may have been done by an attempt before the last one. */
export function wasRepeated(error: unknown): boolean {
  return error instanceof PrimaError && Number(error.details['attempts'] ?? 1) > 1;
}

/** The server's name for the error, or undefined. */
export function s3CodeOf(error: unknown): string | undefined {
  const code = error instanceof PrimaError ? error.details['s3'] : undefined;
  return typeof code === 'string' ? code : undefined;
}

/** True when the object (not the bucket) is not there. */
export function isMissingObject(error: unknown): boolean {
  return statusOf(error) === 404 && s3CodeOf(error) !== 'NoSuchBucket';
}

/** The error for an answer that no S3 server gives: a web server, a proxy's page. */
export function notS3(doing: string, location: S3Location): ProtocolError {
  return new ProtocolError(
    `${doing} in ${location.url}: what answers at ${where(location)} does not speak S3; look at the endpoint`,
  );
}

function where(location: S3Location): string {
  return location.endpoint ?? 'the S3 service';
}

/** `ECONNREFUSED` and the like, TLS's own codes included. An error of several addresses has it in its parts. */
function networkCode(error: Error): string | undefined {
  const inner = error instanceof AggregateError ? error.errors[0] : error;
  const system = systemErrorCode(inner);
  if (system !== undefined) return system;
  const code = inner instanceof Error && 'code' in inner ? inner.code : undefined;
  return typeof code === 'string' && untrusted.test(code) ? code : undefined;
}

function connectionError(error: SdkError, system: string, doing: string): PrimaError {
  const options = { cause: error, details: { system, attempts: error.$metadata?.attempts } };
  if (system === 'ETIMEDOUT') {
    const text = `${doing} did not answer in time (${system})`;
    return new RemoteError(text, { ...options, code: 'timeout', retryable: true });
  }
  if (untrusted.test(system)) {
    return new RemoteError(
      `${doing} has a certificate that is not trusted (${system}); name the authority's with ca=FILE in the URL`,
      options,
    );
  }
  if (unreachable.has(system)) {
    return new RemoteError(`${doing} cannot be reached (${system}); look at the endpoint and the network`, {
      ...options,
      retryable: true,
    });
  }
  return new RemoteError(`${doing}: the connection was lost (${system})`, { ...options, retryable: true });
}

function answeredError(error: SdkError, doing: string, location: S3Location): PrimaError {
  const status = error.$metadata?.httpStatusCode;
  const s3 = error.Code ?? error.name;
  const details = { status, s3, attempts: error.$metadata?.attempts };
  const options = { cause: error, details };
  const told = `${doing}: ${where(location)} answered ${status ?? 'nothing'} (${s3})`;
  const bad = wrongCredentials[s3];
  if (error.name === 'CredentialsProviderError') return noCredentials(error, doing);
  if (error.message === 'Region is missing') {
    return new StorageError(
      'usage',
      `${doing}: no region is known; give region= in the URL or set AWS_REGION`,
    );
  }
  if (bad !== undefined) {
    return new StorageError(
      'permission',
      `${told}: ${bad}; look at AWS_ACCESS_KEY_ID or AWS_PROFILE`,
      options,
    );
  }
  if (s3 === 'NoSuchBucket') return noBucket(error, doing, location);
  if (s3 === 'PermanentRedirect' || s3 === 'AuthorizationHeaderMalformed' || status === 301) {
    const right = error.Region === undefined ? '' : ` (it says region=${error.Region})`;
    return new StorageError(
      'usage',
      `${told}: the bucket is in another region${right}; set region= in the URL`,
      options,
    );
  }
  if (s3 === 'RequestTimeTooSkewed') {
    return new RemoteError(
      `${told}: the clocks of this machine and the server differ too much; set them`,
      options,
    );
  }
  if (error.message.startsWith('Checksum mismatch')) {
    return new IntegrityError(`${doing}: the bytes are not those that the store has a checksum of`, {
      cause: error,
    });
  }
  if (status === 507 || s3 === 'QuotaExceeded' || s3 === 'StorageFull' || s3 === 'XMinioStorageFull') {
    return new StorageError('no-space', `${told}: the quota is used up or the store is full`, options);
  }
  if (status === 401 || status === 403 || denied.has(s3)) {
    return new StorageError('permission', `${told}: these credentials may not do that`, options);
  }
  if (status === 404) return new StorageError('not-found', `${told}: there is no such object`, options);
  if (status === undefined) return new RemoteError(`${doing}: ${where(location)}: ${error.message}`, options);
  const words = error.message === 'UnknownError' ? '' : `: ${error.message}`;
  const retryable = status >= 500 || status === 429 || status === 408;
  return new RemoteError(told + words, { ...options, retryable });
}

function noCredentials(cause: Error, doing: string): PrimaError {
  return new StorageError(
    'permission',
    `${doing}: no access key was found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws/credentials`,
    { cause },
  );
}

function noBucket(cause: SdkError, doing: string, location: S3Location): PrimaError {
  const details = { status: cause.$metadata?.httpStatusCode, s3: 'NoSuchBucket' };
  return new StorageError(
    'not-found',
    `${doing}: ${where(location)} has no bucket "${location.bucket}"; make it first (Prima makes none: versioning, object lock and who may do what are chosen then)`,
    { cause, details },
  );
}
