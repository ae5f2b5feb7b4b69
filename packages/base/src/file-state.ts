/** What lies at a path, where nothing being there is an answer and anything else an error. */
import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { systemErrorCode, toPrimaError } from './errors.ts';

/** The state of what is at `path`, links followed; undefined when nothing is. Raises `permission`, `io`. */
export async function statIfThere(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw toPrimaError(error, `looking for ${path}`);
  }
}
