/**
 * Creating a large object on S3 in parts. The precondition goes with the request that completes it; servers that
 * ignore it there would overwrite, so it is looked for just before as well. The upload is aborted on every failure.
 */
import type { CompletedPart } from '@aws-sdk/client-s3';
import {
  forEachBounded,
  PrimaError,
  RemoteError,
  systemClock,
  systemRandom,
  throwIfAborted,
} from '@prima/base';
import type { S3Connection } from './s3-connection.ts';
import { isMissingObject, notS3, statusOf } from './s3-errors.ts';
import { carriesMark, newWriterMark, sha256 } from './s3-put.ts';

/** What S3 allows. */
const maxParts = 10_000;
const parallelParts = 4;
const conflictRounds = 8;

interface Upload {
  connection: S3Connection;
  key: string;
  id: string;
  mark: Record<string, string>;
  signal?: AbortSignal | undefined;
}

export interface MultipartOptions {
  /** Bytes of each part but the last; S3 wants 5 MiB or more. */
  partBytes: number;
  signal?: AbortSignal | undefined;
}

/** Creates `key` in parts. A completion whose answer was lost is found out by the object's own mark. */
export async function uploadIfAbsent(
  connection: S3Connection,
  key: string,
  body: Uint8Array,
  options: MultipartOptions,
): Promise<'created' | 'exists'> {
  const { signal } = options;
  if (await isThere(connection, key, signal)) return 'exists';
  const mark = newWriterMark();
  // without the signal: an upload whose id we never hear cannot be aborted
  const { UploadId: id } = await connection.call(`beginning to store ${key}`, {}, (s3, settings) =>
    s3.createMultipartUpload(
      {
        ...connection.object(key),
        ContentType: 'application/octet-stream',
        ChecksumAlgorithm: 'SHA256',
        Metadata: mark,
      },
      settings,
    ),
  );
  if (id === undefined)
    throw new RemoteError(`storing ${key} in ${connection.location.url}: the upload has no id`);
  const upload: Upload = { connection, key, id, mark, signal };
  try {
    throwIfAborted(signal, `storing ${key} in ${connection.location.url}`);
    const parts = await uploadParts(upload, body, options.partBytes);
    const outcome = (await isThere(connection, key, signal)) ? 'exists' : await complete(upload, parts);
    if (outcome === 'exists') await abort(upload);
    return outcome;
  } catch (error) {
    await abortAfter(upload, error);
    throw error;
  }
}

async function isThere(connection: S3Connection, key: string, signal?: AbortSignal): Promise<boolean> {
  try {
    await connection.call(`looking for ${key}`, { signal }, (s3, settings) =>
      s3.headObject(connection.object(key), settings),
    );
    return true;
  } catch (error) {
    if (isMissingObject(error)) return false;
    throw error;
  }
}

async function uploadParts(upload: Upload, body: Uint8Array, wanted: number): Promise<CompletedPart[]> {
  const { connection, key, id } = upload;
  const partBytes = Math.max(wanted, Math.ceil(body.length / maxParts));
  const numbers = Array.from({ length: Math.ceil(body.length / partBytes) }, (_, index) => index + 1);
  const parts: CompletedPart[] = [];
  await forEachBounded(
    numbers,
    parallelParts,
    async (number, signal) => {
      const part = body.subarray((number - 1) * partBytes, number * partBytes);
      const sum = await sha256(part, signal);
      const doing = `storing part ${number} of ${key}`;
      const { ETag } = await connection.call(doing, { signal, bytes: part.length }, (s3, settings) =>
        s3.uploadPart(
          {
            ...connection.object(key),
            UploadId: id,
            PartNumber: number,
            Body: part,
            ContentLength: part.length,
            ChecksumSHA256: sum,
          },
          settings,
        ),
      );
      parts.push({ PartNumber: number, ETag, ChecksumSHA256: sum });
    },
    upload.signal,
  );
  return parts.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
}

async function complete(upload: Upload, Parts: CompletedPart[]): Promise<'created' | 'exists'> {
  const { connection, key, id, mark, signal } = upload;
  const input = {
    ...connection.object(key),
    UploadId: id,
    IfNoneMatch: '*',
    MultipartUpload: { Parts },
  };
  for (let round = 1; ; round += 1) {
    try {
      const doing = `completing ${key}`;
      const { ETag } = await connection.call(doing, { signal }, (s3, settings) =>
        s3.completeMultipartUpload(input, settings),
      );
      // Ceph 16 gives no tag of the whole
      if (ETag !== undefined || (await carriesMark(connection, key, mark, signal))) return 'created';
      throw notS3(doing, connection.location);
    } catch (error) {
      const status = statusOf(error);
      // 412: the key is there; 404: the upload is not, as after a completion whose answer was lost
      if (status === 412 || status === 404) {
        if (await carriesMark(connection, key, mark, signal)) return 'created';
        if (status === 412) return 'exists';
      }
      if (status !== 409 || round === conflictRounds) throw error;
      await systemClock.sleep(systemRandom.below(50 * 2 ** round), signal);
    }
  }
}

/** Gives the parts' room back, whatever the caller's signal says. */
async function abort({ connection, key, id }: Upload): Promise<void> {
  try {
    await connection.call(`giving up ${key}`, {}, (s3, settings) =>
      s3.abortMultipartUpload({ ...connection.object(key), UploadId: id }, settings),
    );
  } catch (error) {
    if (!isMissingObject(error)) throw error;
  }
}

/** As `abort`; when that fails too, the error that led to it says so. */
async function abortAfter(upload: Upload, error: unknown): Promise<void> {
  try {
    await abort(upload);
  } catch (second) {
    if (!(error instanceof PrimaError)) throw second;
    error.details['uploadLeft'] = upload.id;
  }
}
