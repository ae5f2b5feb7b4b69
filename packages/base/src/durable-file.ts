/**
 * Files that survive a crash: temporary name → write → fsync → rename or link → fsync of the folder.
 * A reader sees the whole file or none of it.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, link, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { DirectWriter } from './direct-io.ts';
import { systemErrorCode } from './errors.ts';

/** The prefix of temporary names, so that leftovers of a crash can be told and removed. */
export const temporaryPrefix = '.tmp-';

/** fsync of a folder: names made or removed in it are durable afterwards. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Writes all of `bytes` at `offset`, whatever the kernel's short writes.
 * @param direct takes what can go past the page cache
 */
export async function writeAt(
  handle: FileHandle,
  bytes: Uint8Array,
  offset: number,
  direct?: DirectWriter,
): Promise<void> {
  let done = direct ? await direct.write(bytes, offset) : 0;
  while (done < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

/** Replaces (or makes) `path` atomically and durably. Mode 0600 unless told. */
export async function replaceFile(path: string, body: Uint8Array | string, mode = 0o600): Promise<void> {
  await withTemporary(path, [asBytes(body)], mode, async (temporary) => {
    await rename(temporary, path);
  });
}

/**
 * Makes `path` only if it is not there, atomically and durably; returns false when it was.
 * Uses link(2), which fails where the name exists, on every POSIX file system, NFS included.
 */
export async function createFile(
  path: string,
  body: Uint8Array | readonly Uint8Array[],
  mode = 0o600,
): Promise<boolean> {
  const pieces = body instanceof Uint8Array ? [body] : body;
  let created = true;
  await withTemporary(path, pieces, mode, async (temporary) => {
    created = await linkUnlessThere(temporary, path);
    await rm(temporary, { force: true }); // NFS may say that it was gone when its answer was lost
  });
  return created;
}

/**
 * Gives the file `from` the second name `to`; returns false when that is taken by another file. A server whose answer
 * was lost says to the repeated request that the name is taken, by ourselves: the files are compared then, as open(2)
 * advises.
 * @param makeLink link(2); tests bring one that loses answers
 */
export async function linkUnlessThere(from: string, to: string, makeLink = link): Promise<boolean> {
  try {
    await makeLink(from, to);
    return true;
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') throw error;
    return await isSameFile(from, to);
  }
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  try {
    // as bigints: two inode numbers of 64 bits must not look the same
    const [first, second] = await Promise.all([stat(a, { bigint: true }), stat(b, { bigint: true })]);
    return first.dev === second.dev && first.ino === second.ino;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false; // the other's, which has just been removed
    throw error;
  }
}

async function withTemporary(
  path: string,
  pieces: readonly Uint8Array[],
  mode: number,
  publish: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `${temporaryPrefix}${basename(path)}-${randomBytes(6).toString('hex')}`);
  const handle = await open(temporary, 'wx', mode);
  try {
    const direct = new DirectWriter(handle, false);
    try {
      let position = 0;
      for (const piece of pieces) {
        await writeAt(handle, piece, position, direct);
        position += piece.length;
      }
      await handle.sync();
    } finally {
      await direct.close();
      await handle.close();
    }
    await publish(temporary);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(folder);
}

function asBytes(body: Uint8Array | string): Uint8Array {
  return typeof body === 'string' ? Buffer.from(body) : body;
}
