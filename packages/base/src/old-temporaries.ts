/** What crashes leave of files that were being written. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryPrefix } from './durable-file.ts';
import { systemErrorCode, toPrimaError } from './errors.ts';
import { statIfThere } from './file-state.ts';

const oldMs = 3_600_000;

/**
 * Removes what crashes left of small files being written in `folder`, which need not be there; young ones may be somebody's
 * now. Raises `io`, `permission`.
 */
export async function removeOldTemporaries(folder: string): Promise<void> {
  try {
    for (const name of await readdir(folder)) {
      if (!name.startsWith(temporaryPrefix)) continue;
      const path = join(folder, name);
      const found = await statIfThere(path);
      if (found && Date.now() - found.mtimeMs > oldMs) await rm(path, { force: true });
    }
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return;
    throw toPrimaError(error, `removing old temporary files in ${folder}`);
  }
}
