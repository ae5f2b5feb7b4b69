/** A streamOptimized VMDK as a new file: what OVF, archives and ESX take. */
import { type FileHandle, open, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { toPrimaError } from '@prima/base';
import type { BlockDevice } from '@prima/block';
import { type StreamWriteOptions, type StreamWritten, writeVmdkStream } from './stream-writer.ts';

/**
 * Writes what `source` holds to the new file `path`, mode 0600, durable when this resolves (its name is not); on
 * failure and cancellation nothing is left. Raises `exists`, `no-space` and what `writeVmdkStream` raises.
 */
export async function writeVmdkStreamFile(
  source: BlockDevice,
  path: string,
  options: StreamWriteOptions = {},
): Promise<StreamWritten> {
  const doing = `writing ${path} (streamed VMDK)`;
  const handle = await open(path, 'wx', 0o600).catch((error: unknown) => {
    throw toPrimaError(error, doing);
  });
  try {
    return await fill(handle, source, { fileName: basename(path), ...options });
  } catch (error) {
    await rm(path, { force: true });
    throw toPrimaError(error, doing);
  } finally {
    await handle.close();
  }
}

async function fill(
  handle: FileHandle,
  source: BlockDevice,
  options: StreamWriteOptions,
): Promise<StreamWritten> {
  await using pieces = writeVmdkStream(source, options);
  let step = await pieces.next();
  while (step.done !== true) {
    await handle.writeFile(step.value); // to where the piece before ended
    step = await pieces.next();
  }
  await handle.sync();
  return step.value;
}
