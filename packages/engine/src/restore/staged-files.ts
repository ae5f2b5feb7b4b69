/**
 * Files that appear in a folder together or not at all: written under temporary names, made durable,
 * then given their names. The journal knows each before it is made, so that a crash leaves none.
 */
import { randomBytes } from 'node:crypto';
import { link, lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { syncFolder, systemErrorCode, temporaryPrefix, toPrimaError, UserError } from '@prima/base';
import type { JournalEntry } from '../journal.ts';

export interface StagedFile {
  /** Where it is written now. */
  readonly temporary: string;
  /** Where it will be. */
  readonly path: string;
}

export class StagedFiles {
  readonly folder: string;
  readonly #entry: JournalEntry;
  readonly #files: StagedFile[] = [];

  private constructor(folder: string, entry: JournalEntry) {
    this.folder = folder;
    this.#entry = entry;
  }

  /** Makes `folder` (and those above it) where it is not there; the journal takes back what was made. */
  static async begin(folder: string, entry: JournalEntry): Promise<StagedFiles> {
    const missing: string[] = [];
    for (let path = resolve(folder); !(await isThere(path)); path = dirname(path)) missing.unshift(path);
    for (const path of missing) {
      await entry.intend({ kind: 'folder', path });
      await mkdir(path).catch((error: unknown) => {
        if (systemErrorCode(error) !== 'EEXIST') throw toPrimaError(error, `making the folder ${path}`);
      });
      await syncFolder(dirname(path));
    }
    return new StagedFiles(resolve(folder), entry);
  }

  /** A name to write to; the caller makes the file. */
  async stage(name: string): Promise<StagedFile> {
    const path = join(this.folder, name);
    const unique = randomBytes(4).toString('hex');
    // a file's name has 255 bytes at most, and the temporary one must fit too
    const short = Buffer.from(name)
      .subarray(0, 180)
      .toString('latin1')
      .replaceAll(/[^\x20-\x7e]/g, '_');
    const temporary = join(this.folder, `${temporaryPrefix}${short}-${unique}`);
    await this.#entry.intend({ kind: 'temporary', path: temporary, published: path });
    const file = { temporary, path };
    this.#files.push(file);
    return file;
  }

  /**
   * Makes what was written durable and gives it its names, all or none. Raises `exists` when a name has
   * been taken meanwhile; with `force` what is there is replaced.
   */
  async publish(force: boolean): Promise<void> {
    for (const { temporary } of this.#files) await syncFile(temporary);
    for (const file of this.#files) await (force ? rename(file.temporary, file.path) : publishNew(file));
    await syncFolder(this.folder);
    await this.#entry.end();
    for (const { temporary } of this.#files) await rm(temporary, { force: true });
  }
}

/** Which of the names are taken in the folder. */
async function takenNames(folder: string, names: readonly string[]): Promise<string[]> {
  const taken: string[] = [];
  for (const name of names) if (await isThere(join(folder, name))) taken.push(name);
  return taken;
}

/** Raises `exists` when a name is taken. @param instead what a person may name in its place: "another folder" */
export async function assertFree(folder: string, names: readonly string[], instead: string): Promise<void> {
  const taken = await takenNames(folder, names);
  if (taken.length === 0) return;
  throw new UserError(
    'exists',
    `${folder} already has ${taken.join(', ')}; nothing was written. Name ${instead}, or force it to be replaced`,
    { details: { folder, taken } },
  );
}

async function publishNew({ temporary, path }: StagedFile): Promise<void> {
  try {
    await link(temporary, path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'EEXIST') {
      throw new UserError('exists', `${path} has come up meanwhile and is not overwritten`, { cause: error });
    }
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') {
      throw toPrimaError(error, `publishing ${path}`);
    }
    // this file system has no links; the name was looked for a moment ago
    if (await isThere(path)) throw new UserError('exists', `${path} is there and is not overwritten`);
    await rename(temporary, path);
  }
}

async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT') return false;
    throw toPrimaError(error, `looking for ${path}`);
  }
}
