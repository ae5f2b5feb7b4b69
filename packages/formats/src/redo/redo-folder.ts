/** The folder of a disk and its redo logs, as far as the record and whole files go. */
import { lstat, readdir, readFile, realpath, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { replaceFile, syncFolder, systemErrorCode, toPrimaError } from '@prima/base';

export interface RedoFolder {
  readonly path: string;
  /** Undefined when there is no such file. */
  read(name: string): Promise<string | undefined>;
  /** Replaces it whole, durably. */
  replace(name: string, text: string): Promise<void>;
  /** Removes them in this order, each durably; those that are not there are no mistake. */
  remove(names: readonly string[]): Promise<void>;
  names(): Promise<string[]>;
}

/**
 * The file that a disk's path leads to: logs and record lie beside that, whatever symbolic link it is named by. Two names of
 * one disk with a record each would have one of them write beneath the other's logs.
 */
export async function diskItself(path: string): Promise<string> {
  try {
    return (await lstat(path)).isSymbolicLink() ? await realpath(path) : resolve(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return resolve(path);
    throw toPrimaError(error, `looking for the disk ${path}`);
  }
}

export function localRedoFolder(disk: string): RedoFolder {
  const path = dirname(disk);
  return {
    path,
    read: async (name) => {
      try {
        return await readFile(join(path, name), 'utf8');
      } catch (error) {
        if (systemErrorCode(error) === 'ENOENT') return undefined;
        throw toPrimaError(error, `reading ${join(path, name)}`);
      }
    },
    replace: async (name, text) => {
      try {
        await replaceFile(join(path, name), text);
      } catch (error) {
        throw toPrimaError(error, `writing ${join(path, name)}`);
      }
    },
    remove: async (names) => {
      try {
        for (const name of names) {
          await rm(join(path, name), { force: true });
          await syncFolder(path);
        }
      } catch (error) {
        throw toPrimaError(error, `removing the redo log ${basename(names[0] ?? '')} in ${path}`);
      }
    },
    names: async () => {
      try {
        return await readdir(path);
      } catch (error) {
        throw toPrimaError(error, `looking for redo logs in ${path}`);
      }
    },
  };
}
