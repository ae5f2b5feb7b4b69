/** One entry of the log of roots, as it is stored: see "Log of roots" of the format. */
import { IntegrityError } from '@prima/base';
import { type Context, getSealed } from '../context.ts';
import { signerOf } from '../crypto/signature.ts';
import { blobType } from '../format/blob.ts';
import { parseJson } from '../format/json.ts';
import { logKey, type LogEntry, type ReadEntry } from './log-chain.ts';
import { digestOf } from './sessions.ts';

/** Reads one entry past every cache and verifies its signature. Raises `not-found`, `integrity`. */
export async function readLogEntry(
  context: Context,
  seq: number,
): Promise<ReadEntry & { stored: Uint8Array }> {
  const key = logKey(seq);
  const { plain, stored } = await getSealed(context, key, blobType.logEntry, { fresh: true });
  const text = plain.toString();
  const scope = { repositoryId: context.id, objectKey: key };
  const signer = signerOf(text, scope, context.keyring.keySet.signers);
  const entry = parseJson(text, key) as unknown as LogEntry;
  if (signer === undefined || entry.seq !== seq) {
    throw new IntegrityError(
      `${key} was not signed by a writer of this repository: the log of roots was tampered with`,
    );
  }
  return { entry, signer, digest: digestOf(stored), stored };
}
