/** The side effects on files that the journal can undo. Each answers what it did, in sentences. */
import { readdir, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { assert, syncFolder, systemErrorCode, temporaryPrefix, toPrimaError } from '@prima/base';

/** Removes a temporary file or folder, and `published` where that is the very same file. */
export async function removeTemporary(path: string, published?: string): Promise<string[]> {
  assert(basename(path).startsWith(temporaryPrefix), `${path} has a temporary name`);
  const done = await removeInner(path);
  const found = await statOf(path);
  if (found === undefined) return done;
  if (published !== undefined) {
    const other = await statOf(published);
    if (other && other.ino === found.ino && other.dev === found.dev) {
      await rm(published, { force: true });
      done.push(`removed ${published}, which was not complete with what belongs to it`);
    }
  }
  await rm(path, { recursive: true, force: true });
  await syncFolder(dirname(path));
  done.push(`removed ${path}`);
  return done;
}

/** What was written to `path` in turn by way of a temporary file beside it, as the writers of images do. */
async function removeInner(path: string): Promise<string[]> {
  const folder = dirname(path);
  const inner = (await namesIn(folder)).filter((name) =>
    name.startsWith(`${temporaryPrefix}${basename(path)}-`),
  );
  for (const name of inner) await rm(join(folder, name), { recursive: true, force: true });
  return inner.map((name) => `removed ${join(folder, name)}`);
}

/** The names in a folder; none when it is not there. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw toPrimaError(error, `reading the folder ${folder}`);
  }
}

/** Removes a folder where it is empty. */
export async function removeEmptyFolder(path: string): Promise<string[]> {
  try {
    await rmdir(path);
    return [`removed the empty folder ${path}`];
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR') return [];
    throw error;
  }
}

async function statOf(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}
