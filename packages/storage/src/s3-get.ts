/** Reading an object, or a range of it, from S3: exactly the bytes that were asked for, or an error. */
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { IntegrityError, PrimaError, ProtocolError, RemoteError } from '@prima/base';
import type { ObjectRange } from './object-store.ts';
import type { S3Connection } from './s3-connection.ts';
import { isMissingObject, statusOf } from './s3-errors.ts';
import { missingObject, tooShort } from './store-key.ts';

/** How often a body that breaks off in the middle is asked for; the SDK repeats only what gave no answer. */
const bodyAttempts = 3;

/** Reads all of `key`, or a range of at least one byte. Raises `not-found`, `integrity`, what `call` raises. */
export async function getObject(
  connection: S3Connection,
  key: string,
  range: ObjectRange | undefined,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getOnce(connection, key, range, signal);
    } catch (error) {
      if (isMissingObject(error)) throw missingObject(key, connection.location.url, error);
      const broke = error instanceof PrimaError && error.details['body'] === true;
      if (!broke || attempt === bodyAttempts) throw error;
    }
  }
}

async function getOnce(
  connection: S3Connection,
  key: string,
  range: ObjectRange | undefined,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const object = { key, url: connection.location.url };
  const input = {
    ...connection.object(key),
    ...(range
      ? { Range: `bytes=${range.offset}-${range.offset + range.length - 1}` }
      : { ChecksumMode: 'ENABLED' as const }),
  };
  try {
    return await connection.call(
      `reading ${key}`,
      { signal, bytes: range?.length ?? 0 },
      async (s3, settings) => {
        const answer = await s3.getObject(input, settings);
        try {
          return await readBody(answer, expectedLength(answer, object, range), object);
        } catch (error) {
          destroyBody(answer);
          throw error;
        }
      },
    );
  } catch (error) {
    if (range === undefined || statusOf(error) !== 416) throw error;
    throw tooShort({ ...object, size: (await sizeOf(connection, key, signal)) ?? 0 }, range);
  }
}

/** Bytes that the body has to have. Raises `integrity` when the object ends before the range does. */
function expectedLength(
  answer: GetObjectCommandOutput,
  object: { key: string; url: string },
  range: ObjectRange | undefined,
): number {
  const { ContentLength: length, ContentRange: given = '' } = answer;
  const doing = `reading ${object.key} in ${object.url}`;
  if (range === undefined) {
    if (length !== undefined) return length;
    throw new ProtocolError(`${doing}: the server does not say how long the object is`);
  }
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(given) ?? [];
  const end = range.offset + range.length;
  if (size !== undefined && Number(size) < end) throw tooShort({ ...object, size: Number(size) }, range);
  if (Number(first) !== range.offset || Number(last) !== end - 1) {
    throw new ProtocolError(
      `${doing}: bytes ${range.offset} to ${end} were asked for, the server gave "${given || 'all of it'}"`,
    );
  }
  return range.length;
}

async function readBody(
  { Body: body }: GetObjectCommandOutput,
  length: number,
  object: { key: string; url: string },
): Promise<Uint8Array> {
  const doing = `reading ${object.key} in ${object.url}`;
  const bytes = Buffer.allocUnsafeSlow(length);
  let done = 0;
  try {
    for await (const piece of (body ?? []) as AsyncIterable<Uint8Array>) {
      if (done + piece.length > length) throw new ProtocolError(`${doing}: more than ${length} bytes came`);
      bytes.set(piece, done);
      done += piece.length;
    }
  } catch (error) {
    if (error instanceof PrimaError) throw error;
    throw brokenBody(error, `${doing}: after ${done} of ${length} bytes`);
  }
  if (done === length) return bytes;
  throw brokenBody(undefined, `${doing}: the connection ended after ${done} of ${length} bytes`);
}

function brokenBody(cause: unknown, doing: string): PrimaError {
  const text = cause instanceof Error ? cause.message : '';
  const details = { body: true };
  if (text.startsWith('Checksum mismatch')) {
    return new IntegrityError(`${doing}: they are not those that the store has a checksum of`, {
      cause,
      details,
    });
  }
  const timeout = cause instanceof Error && cause.name === 'TimeoutError';
  return new RemoteError(timeout ? `${doing}: no more came in time` : doing + (text && ` (${text})`), {
    code: timeout ? 'timeout' : 'remote',
    retryable: true,
    cause,
    details,
  });
}

/** Ends the connection of a body that nobody reads. */
function destroyBody({ Body: body }: GetObjectCommandOutput): void {
  if (body !== undefined && 'destroy' in body) body.destroy();
}

async function sizeOf(
  connection: S3Connection,
  key: string,
  signal?: AbortSignal,
): Promise<number | undefined> {
  const { ContentLength } = await connection.call(`looking for ${key}`, { signal }, (s3, settings) =>
    s3.headObject(connection.object(key), settings),
  );
  return ContentLength;
}
