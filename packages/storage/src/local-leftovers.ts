/** Temporary files that a writer left when it was killed. */
import { opendir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode, temporaryPrefix, toPrimaError } from '@prima/base';

const dayMs = 24 * 60 * 60 * 1000;
/** Opening a large store must not take long: this many names are looked at, folders in random order. */
const namesLimit = 20_000;

/**
 * Removes temporary files older than a day; no writer needs as long for one object. Returns how many.
 * Where nothing may be removed (a store opened for reading only), nothing is.
 */
export async function removeLeftovers(root: string, now: number): Promise<number> {
  const folders = [root];
  let names = 0;
  let removed = 0;
  while (folders.length > 0 && names < namesLimit) {
    const [folder = root] = folders.splice(Math.floor(Math.random() * folders.length), 1);
    try {
      for await (const entry of await opendir(folder)) {
        names += 1;
        if (names >= namesLimit) break;
        const path = join(folder, entry.name);
        if (entry.isDirectory()) folders.push(path);
        else if (entry.name.startsWith(temporaryPrefix) && (await isOld(path, now))) {
          await unlink(path);
          removed += 1;
        }
      }
    } catch (error) {
      if (!tolerated.includes(systemErrorCode(error))) throw toPrimaError(error, `tidying ${folder}`);
    }
  }
  return removed;
}

/** Vanished meanwhile, or not ours to remove: what is left hurts nobody. */
const tolerated: readonly (string | undefined)[] = ['ENOENT', 'EACCES', 'EPERM', 'EROFS'];

async function isOld(path: string, now: number): Promise<boolean> {
  return now - (await stat(path)).mtimeMs > dayMs;
}
