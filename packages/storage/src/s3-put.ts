/**
 * Creating an object on S3 only where there is none: `PUT` with `If-None-Match: *`, which the server decides. The
 * server verifies the body against its SHA-256.
 */
import { createHash, randomBytes } from 'node:crypto';
import { setImmediate as turn } from 'node:timers/promises';
import { MiB, StorageError, systemClock, systemRandom, throwIfAborted } from '@prima/base';
import type { S3Connection } from './s3-connection.ts';
import { isMissingObject, notS3, statusOf, wasRepeated } from './s3-errors.ts';

/** Metadata by which a writer knows its own object again when an answer was lost. */
const writerMetadata = 'prima-write';
/** Rounds against writers of the same key, each after a pause; AWS asks for them with status 409. */
const conflictRounds = 8;
const hashSliceBytes = 4 * MiB;

/** A writer's mark: not known to anyone before, so an object that carries it is this writer's. */
export function newWriterMark(): { [writerMetadata]: string } {
  return { [writerMetadata]: randomBytes(12).toString('hex') };
}

/** True when the object was created by the writer with this mark. Absent is false. */
export async function carriesMark(
  connection: S3Connection,
  key: string,
  mark: Record<string, string>,
  signal?: AbortSignal,
): Promise<boolean> {
  try {
    const { Metadata } = await connection.call(`looking whose ${key} is`, { signal }, (s3, settings) =>
      s3.headObject(connection.object(key), settings),
    );
    return Metadata?.[writerMetadata] === mark[writerMetadata];
  } catch (error) {
    if (isMissingObject(error)) return false;
    throw error;
  }
}

/** Creates `key` in one request. A second attempt that finds the first one's object answers `created`. */
export async function putObjectIfAbsent(
  connection: S3Connection,
  key: string,
  body: Uint8Array,
  signal?: AbortSignal,
): Promise<'created' | 'exists'> {
  const mark = newWriterMark();
  const doing = `storing ${key}`;
  const input = {
    ...connection.object(key),
    Body: body,
    ContentLength: body.length,
    ContentType: 'application/octet-stream',
    ChecksumSHA256: await sha256(body, signal),
    IfNoneMatch: '*',
    Metadata: mark,
  };
  for (let round = 1; ; round += 1) {
    try {
      const { ETag } = await connection.call(doing, { signal, bytes: body.length }, (s3, settings) =>
        s3.putObject(input, settings),
      );
      if (ETag === undefined) throw notS3(doing, connection.location);
      return 'created';
    } catch (error) {
      if (statusOf(error) === 412) {
        const maybeOurs = round > 1 || wasRepeated(error);
        return maybeOurs && (await carriesMark(connection, key, mark, signal)) ? 'created' : 'exists';
      }
      if (statusOf(error) !== 409 || round === conflictRounds) throw error;
      await systemClock.sleep(systemRandom.below(50 * 2 ** round), signal);
    }
  }
}

/** The SHA-256 in base64; other work gets its turn in between. Raises `cancelled`. */
export async function sha256(bytes: Uint8Array, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for (let offset = 0; offset < bytes.length; offset += hashSliceBytes) {
    if (offset > 0) await turn();
    throwIfAborted(signal, 'hashing an object');
    hash.update(bytes.subarray(offset, offset + hashSliceBytes));
  }
  return hash.digest('base64');
}

/** An object of ours that is no object of the repository: its name is no key, so no list shows it. */
export const probeKey = '.prima-conditional-put';

/**
 * Makes sure that the server refuses to overwrite: without that two writers could both believe that they created a
 * key. Leaves one object of a few bytes, which is used again. Raises `unsupported` for a server that overwrites.
 */
export async function verifyConditionalPut(connection: S3Connection, signal?: AbortSignal): Promise<void> {
  for (const round of ['first', 'second']) {
    const body = Buffer.from(
      `Prima makes sure that this is not overwritten (${randomBytes(6).toString('hex')})\n`,
    );
    const outcome = await putObjectIfAbsent(connection, probeKey, body, signal);
    if (outcome === 'exists') return;
    if (round === 'second') break;
  }
  throw new StorageError(
    'unsupported',
    `${connection.location.url}: the server overwrites objects although it was asked not to (it ignores If-None-Match), so two backups at once could destroy each other; use a server that knows conditional writes`,
  );
}
