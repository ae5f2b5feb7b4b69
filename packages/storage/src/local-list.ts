/** The objects below a folder of this machine, in the order of their keys. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachBounded, toPrimaError } from '@prima/base';
import { type FolderEntry, walkFolders } from './folder-walk.ts';
import type { ListOptions, ObjectInfo } from './object-store.ts';
import { onceMoreWhenStale } from './stale.ts';
import { unlessAbsent } from './unless-absent.ts';

/** Folders read ahead: many, for each answer that comes alone costs a turn of the event loop. */
const foldersAhead = 64;
/** How many files of a folder are asked for their size at once. */
const statsAtOnce = 16;

/**
 * Gives the objects in `root` whose key begins with `prefix`, ascending. What vanishes meanwhile is left out;
 * temporary files and whatever else is no key is never given.
 */
export async function* listFolder(
  root: string,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<ObjectInfo> {
  const { signal, namesOnly = false } = options;
  const read = async (folder: string, wanted: (name: string) => boolean) => {
    const entries = await entriesOf(root, folder, wanted);
    return namesOnly ? entries : withSizes(root, entries);
  };
  try {
    yield* walkFolders(read, prefix, { signal, ahead: namesOnly ? foldersAhead : 16 });
  } catch (error) {
    throw toPrimaError(error, `listing ${prefix === '' ? 'everything' : prefix} in ${root}`);
  }
}

async function entriesOf(
  root: string,
  folder: string,
  wanted: (name: string) => boolean,
): Promise<FolderEntry[]> {
  const found = await onceMoreWhenStale(`listing ${folder} in ${root}`, () =>
    unlessAbsent(readdir(join(root, folder), { withFileTypes: true })),
  );
  const entries: FolderEntry[] = [];
  for (const item of found ?? []) {
    const key = folder + item.name;
    const kind = item.isSymbolicLink() ? await unlessAbsent(stat(join(root, key))) : item;
    if (kind?.isDirectory() === true && wanted(`${key}/`)) entries.push({ folder: `${key}/` });
    else if (kind?.isFile() === true && wanted(key)) entries.push({ key, size: 0, modified: 0 });
  }
  return entries;
}

async function withSizes(root: string, entries: readonly FolderEntry[]): Promise<FolderEntry[]> {
  const sized: FolderEntry[] = [];
  await forEachBounded(entries, statsAtOnce, async (entry) => {
    const complete = 'folder' in entry ? entry : await infoOf(root, entry.key);
    if (complete) sized.push(complete);
  });
  return sized;
}

async function infoOf(root: string, key: string): Promise<ObjectInfo | undefined> {
  const found = await onceMoreWhenStale(`looking for ${key} in ${root}`, () =>
    unlessAbsent(stat(join(root, key))),
  );
  return found?.isFile() ? { key, size: found.size, modified: found.mtimeMs } : undefined;
}
