/** Writes what a log holds to what is beneath it. May be interrupted anywhere and begun again. */
import { MiB, throwIfAborted } from '@prima/base';
import type { WritableDevice } from '@prima/block';
import type { MergeOptions, OwnContent } from './log-kind.ts';

const pieceBytes = 4 * MiB;

/** Bytes merged. What is merged is durable when it resolves. */
export async function mergeLog(
  log: OwnContent,
  beneath: WritableDevice,
  { signal, onProgress }: MergeOptions = {},
): Promise<number> {
  const total = onProgress ? await ownBytes(log, signal) : 0;
  const buffer = new Uint8Array(pieceBytes);
  let done = 0;
  for await (const { offset, length, kind } of log.runs(signal)) {
    for (let at = 0; at < length; at += pieceBytes) {
      throwIfAborted(signal, 'merging a redo log');
      const piece = { offset: offset + at, length: Math.min(pieceBytes, length - at) };
      if (kind === 'zero') await beneath.zero(piece, signal);
      else {
        const bytes = buffer.subarray(0, piece.length);
        await log.read(piece.offset, bytes, signal);
        await beneath.write(piece.offset, bytes, signal);
      }
      done += piece.length;
      onProgress?.({ phase: 'merging a redo log', done, total });
    }
  }
  await beneath.flush();
  return done;
}

/** Bytes that a log holds itself. */
export async function ownBytes(log: OwnContent, signal?: AbortSignal): Promise<number> {
  let bytes = 0;
  for await (const { length } of log.runs(signal)) bytes += length;
  return bytes;
}
