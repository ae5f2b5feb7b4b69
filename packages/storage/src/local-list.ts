/** The objects below a folder of this machine, in the order of their keys. */
import { forEachBounded, toPrimaError } from '@prima/base';
import { type FolderEntry, walkFolders } from './folder-walk.ts';
import { LocalLooks } from './local-looks.ts';
import type { ListOptions, ObjectInfo } from './object-store.ts';

/** Folders read ahead: many, for each answer that comes alone costs a turn of the event loop. */
const foldersAhead = 64;
/** How many files of a folder are asked for their size at once. */
const statsAtOnce = 16;

/** Where to look, and how. */
interface Place {
  root: string;
  looks: LocalLooks;
}

/**
 * Gives the objects in `root` whose key begins with `prefix`, ascending. What vanishes meanwhile is left out;
 * temporary files and whatever else is no key is never given.
 * @param options.isNear whether the folder is on a file system of this machine; default false
 */
export async function* listFolder(
  root: string,
  prefix: string,
  options: ListOptions & { isNear?: boolean } = {},
): AsyncGenerator<ObjectInfo> {
  const { signal, namesOnly = false, isNear = false } = options;
  const place = { root, looks: new LocalLooks(isNear) };
  const read = async (folder: string, wanted: (name: string) => boolean) => {
    const entries = await entriesOf(place, folder, wanted);
    return namesOnly ? entries : await withSizes(place, entries);
  };
  try {
    yield* walkFolders(read, prefix, { signal, ahead: namesOnly ? foldersAhead : 16 });
  } catch (error) {
    throw toPrimaError(error, `listing ${prefix === '' ? 'everything' : prefix} in ${root}`);
  }
}

async function entriesOf(
  { root, looks }: Place,
  folder: string,
  wanted: (name: string) => boolean,
): Promise<FolderEntry[]> {
  await looks.turn();
  const entries: FolderEntry[] = [];
  for (const item of (await looks.names(`${root}/${folder}`)) ?? []) {
    const key = folder + item.name;
    const kind = item.isSymbolicLink() ? await looks.status(`${root}/${key}`) : item;
    if (kind?.isDirectory() === true && wanted(`${key}/`)) entries.push({ folder: `${key}/` });
    else if (kind?.isFile() === true && wanted(key)) entries.push({ key, size: 0, modified: 0 });
  }
  return entries;
}

async function withSizes(place: Place, entries: readonly FolderEntry[]): Promise<FolderEntry[]> {
  const sized: FolderEntry[] = [];
  await forEachBounded(entries, statsAtOnce, async (entry) => {
    const complete = 'folder' in entry ? entry : await infoOf(place, entry.key);
    if (complete) sized.push(complete);
  });
  return sized;
}

async function infoOf({ root, looks }: Place, key: string): Promise<ObjectInfo | undefined> {
  const found = await looks.status(`${root}/${key}`);
  return found?.isFile() ? { key, size: found.size, modified: found.mtimeMs } : undefined;
}
