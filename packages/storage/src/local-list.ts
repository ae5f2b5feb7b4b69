/** The objects below a folder in the order of their keys, one folder in memory at a time. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted, toPrimaError } from '@prima/base';
import { keyPattern, type ObjectInfo } from './object-store.ts';
import { unlessAbsent } from './unless-absent.ts';

/** How many files are asked for their size at once. */
const batch = 32;

/**
 * Walks `root` and gives the objects whose key begins with `prefix`, ascending. What vanishes
 * meanwhile is left out; temporary files and whatever else is no key is never given.
 */
export async function* listFolder(
  root: string,
  prefix: string,
  signal?: AbortSignal,
): AsyncGenerator<ObjectInfo> {
  const start = prefix.slice(0, prefix.lastIndexOf('/') + 1);
  try {
    yield* walk(root, start, prefix, signal);
  } catch (error) {
    throw toPrimaError(error, `listing ${prefix === '' ? 'everything' : prefix} in ${root}`);
  }
}

/** @param folder a key's beginning up to and with a `/`, or empty for the root */
async function* walk(
  root: string,
  folder: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ObjectInfo> {
  const names = await sortedNames(root, folder);
  for (let index = 0; index < names.length; ) {
    throwIfAborted(signal, `listing ${folder} in ${root}`);
    const name = names[index] ?? '';
    const key = folder + name;
    if (name.endsWith('/')) {
      index += 1;
      if (key.startsWith(prefix) || prefix.startsWith(key)) yield* walk(root, key, prefix, signal);
      continue;
    }
    const files: string[] = [];
    for (; index < names.length && files.length < batch; index += 1) {
      const file = names[index] ?? '';
      if (file.endsWith('/')) break;
      if ((folder + file).startsWith(prefix)) files.push(folder + file);
    }
    for (const info of await Promise.all(files.map((file) => infoOf(root, file)))) if (info) yield info;
  }
}

/**
 * The names in a folder; those of folders end with `/`, so that they sort as their keys do: the
 * file `a-b` comes before what is in `a/`, although the name `a` comes before `a-b`.
 */
async function sortedNames(root: string, folder: string): Promise<string[]> {
  const path = join(root, folder);
  const entries = await unlessAbsent(readdir(path, { withFileTypes: true }));
  const names: string[] = [];
  for (const entry of entries ?? []) {
    const kind = entry.isSymbolicLink() ? await unlessAbsent(stat(join(path, entry.name))) : entry;
    if (kind === undefined || !keyPattern.test(folder + entry.name)) continue;
    if (kind.isDirectory()) names.push(`${entry.name}/`);
    else if (kind.isFile()) names.push(entry.name);
  }
  return names.sort();
}

async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  const found = await unlessAbsent(stat(join(root, key)));
  return found?.isFile() ? { key, size: found.size, modified: found.mtimeMs } : undefined;
}
