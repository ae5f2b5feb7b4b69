/** Tidying a folder of this machine. */
import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode, temporaryPrefix, toPrimaError } from '@prima/base';
import { removeLeftovers, type TidyFolder } from './leftovers.ts';

const limits = { names: 20_000, folders: 20_000 };

/** Removes the temporary files below `root` that are older than a day. */
export async function tidyFolder(root: string, now: number): Promise<number> {
  const tree = {
    read: async (folder: string) =>
      (await tolerant(read(root, folder), join(root, folder))) ?? { folders: [], temporaries: [], names: 0 },
    remove: async (path: string) => {
      const removed = unlink(join(root, path)).then(() => true);
      return (await tolerant(removed, join(root, path))) ?? false;
    },
  };
  return removeLeftovers(tree, now, limits);
}

async function read(root: string, folder: string): Promise<TidyFolder> {
  const found: TidyFolder = { folders: [], temporaries: [], names: 0 };
  for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
    const path = folder + entry.name;
    found.names += 1;
    if (entry.isDirectory()) found.folders.push(`${path}/`);
    else if (entry.name.startsWith(temporaryPrefix)) {
      const status = await tolerant(stat(join(root, path)), path);
      if (status) found.temporaries.push({ path, modified: status.mtimeMs });
    }
  }
  return found;
}

/** Vanished meanwhile, or not ours to remove: what is left hurts nobody. */
const tolerated: readonly (string | undefined)[] = ['ENOENT', 'EACCES', 'EPERM', 'EROFS', 'ESTALE'];

async function tolerant<T>(result: Promise<T>, path: string): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (tolerated.includes(systemErrorCode(error))) return undefined;
    throw toPrimaError(error, `tidying ${path}`);
  }
}
