/**
 * Every failure that Prima names. One table of codes, with the exit status of the command line and
 * the HTTP status of the API; docs/errors.md lists the same codes and a test compares the two.
 */

/** What each code means to a script: `exit` is the process's exit status, `http` the API's status. */
export const errorCodes = {
  usage: {
    exit: 2,
    http: 400,
    summary: 'The request itself is wrong: an unknown option, a missing or malformed value.',
  },
  internal: { exit: 70, http: 500, summary: 'A mistake of ours: an assertion failed.' },
  'not-found': {
    exit: 3,
    http: 404,
    summary: 'What was named does not exist: a point, a machine, a host, a file, a repository.',
  },
  ambiguous: { exit: 3, http: 409, summary: 'What was named fits more than one thing.' },
  exists: { exit: 4, http: 409, summary: 'The target is there already and is not overwritten.' },
  busy: {
    exit: 5,
    http: 409,
    summary: 'Somebody else is at it: the same machine is being backed up, a disk is in use.',
  },
  state: { exit: 6, http: 409, summary: 'The machine or object is in a state that does not allow this.' },
  'wrong-key': {
    exit: 10,
    http: 403,
    summary: 'The passphrase or key file opens no key slot of the repository.',
  },
  'newer-version': {
    exit: 11,
    http: 501,
    summary: 'Written by a newer version of Prima; update Prima to read it.',
  },
  integrity: {
    exit: 12,
    http: 500,
    summary: 'Stored data is not what was written: damaged, swapped, missing or forged.',
  },
  refused: { exit: 13, http: 409, summary: 'Prima declined because going on could lose data.' },
  format: { exit: 14, http: 422, summary: 'A file or message from outside breaks its format.' },
  protocol: { exit: 15, http: 502, summary: 'A peer (NBD, QMP, guest agent) broke its protocol.' },
  remote: {
    exit: 16,
    http: 502,
    summary: 'A peer answered with an error, or the connection to it was lost.',
  },
  timeout: { exit: 17, http: 504, summary: 'A peer did not answer within its deadline.' },
  'source-changed': {
    exit: 18,
    http: 409,
    summary: 'The source vanished, shrank or failed while it was read.',
  },
  'no-space': { exit: 19, http: 507, summary: 'The target or repository has no room left.' },
  io: { exit: 20, http: 500, summary: 'The operating system refused to read or write a file.' },
  permission: { exit: 21, http: 403, summary: 'The operating system or store denied access.' },
  'missing-program': {
    exit: 22,
    http: 501,
    summary: 'A program that Prima needs is not installed; the message names the package.',
  },
  unsupported: {
    exit: 23,
    http: 501,
    summary: 'This cannot be done with this machine, disk or peer; the message says why.',
  },
  'verify-failed': { exit: 24, http: 500, summary: 'A check or a verification ran and found faults.' },
  unauthorized: {
    exit: 25,
    http: 401,
    summary: 'The server does not know who asks: not signed in, or no longer.',
  },
  forbidden: {
    exit: 26,
    http: 403,
    summary: 'Who asks may not do this: a role is missing, or another person has to agree.',
  },
  'too-many': {
    exit: 27,
    http: 429,
    summary: 'Too many requests, or too many wrong passwords, in a short time.',
  },
  cancelled: { exit: 130, http: 499, summary: 'Cancelled by the user; what was begun has been cleaned up.' },
} as const satisfies Record<string, { exit: number; http: number; summary: string }>;

export type ErrorCode = keyof typeof errorCodes;

export interface ErrorOptions {
  /** True when the same call may succeed later with nothing changed by anyone. Default false. */
  retryable?: boolean;
  /** Machine-readable facts: offsets, paths, sizes. Never a secret. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/**
 * The base of every error that Prima raises on purpose. The message says what was being done, to
 * what, what was found and what was wanted, and where it helps, what to do next.
 */
export class PrimaError extends Error {
  override name = 'PrimaError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Record<string, unknown>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }

  /** The process exit status for this error. */
  get exitStatus(): number {
    return errorCodes[this.code].exit;
  }
}

/** The user asked for something that cannot be; the message tells what can. */
export class UserError extends PrimaError {
  override name = 'UserError';
}

/** Bytes of a file break their format. `details.offset` is the byte offset where known. */
export class FormatError extends PrimaError {
  override name = 'FormatError';
  constructor(message: string, options: ErrorOptions = {}) {
    super('format', message, options);
  }
}

/** A peer broke its protocol; the connection is not usable afterwards. */
export class ProtocolError extends PrimaError {
  override name = 'ProtocolError';
  constructor(message: string, options: ErrorOptions = {}) {
    super('protocol', message, options);
  }
}

/** A peer failed: it answered with an error, went away, or did not answer in time. */
export class RemoteError extends PrimaError {
  override name = 'RemoteError';
  constructor(message: string, options: ErrorOptions & { code?: 'remote' | 'timeout' } = {}) {
    super(options.code ?? 'remote', message, options);
  }
}

/** Reading or writing a file or an object store failed. */
export class StorageError extends PrimaError {
  override name = 'StorageError';
}

/** Stored data is not what was written. */
export class IntegrityError extends PrimaError {
  override name = 'IntegrityError';
  constructor(message: string, options: ErrorOptions = {}) {
    super('integrity', message, options);
  }
}

/** Our own mistake; see `assert`. */
export class AssertionError extends PrimaError {
  override name = 'AssertionError';
  constructor(message: string) {
    super('internal', message);
  }
}

/** Raises when `condition` is false. For our own mistakes only, never for input from outside. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(`assertion failed: ${message}`);
}

const systemCodes: Partial<Record<string, ErrorCode>> = {
  ENOENT: 'not-found',
  ENOTDIR: 'not-found',
  EEXIST: 'exists',
  ENOTEMPTY: 'exists',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EFBIG: 'no-space',
  EACCES: 'permission',
  EPERM: 'permission',
  EROFS: 'permission',
  ETIMEDOUT: 'timeout',
};

/** The operating system's error name (`ENOENT`), or undefined when `error` is not one of its errors. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

/**
 * Turns whatever was thrown into a PrimaError; one that is one already passes unchanged.
 * @param doing what was being done, to what: "reading /srv/a.raw"
 */
export function toPrimaError(error: unknown, doing: string): PrimaError {
  if (error instanceof PrimaError) return error;
  // what went wrong first, not what closing said about it
  if (error instanceof SuppressedError) return toPrimaError(error.suppressed, doing);
  if (error instanceof Error && error.name === 'TimeoutError') {
    return new RemoteError(`${doing}: no answer in time`, { code: 'timeout', retryable: true, cause: error });
  }
  if (isAbortError(error)) return new PrimaError('cancelled', `cancelled while ${doing}`, { cause: error });
  const system = systemErrorCode(error);
  const text = error instanceof Error ? error.message : String(error);
  if (system !== undefined) {
    return new StorageError(systemCodes[system] ?? 'io', `${doing}: ${text}`, {
      cause: error,
      details: { system },
    });
  }
  return new PrimaError('internal', `${doing}: ${text}`, { cause: error });
}

/** True for what an AbortSignal throws when it has no reason of its own. */
export function isAbortError(error: unknown): boolean {
  return (
    error instanceof Error && (error.name === 'AbortError' || ('code' in error && error.code === 'ABORT_ERR'))
  );
}

/** Raises `cancelled` (or the signal's own PrimaError) when the signal has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined, doing: string): void {
  if (signal?.aborted) throw toPrimaError(signal.reason, doing);
}
