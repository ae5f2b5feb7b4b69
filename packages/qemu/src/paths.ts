/** A question about paths that several parts here ask. */
import { lstat } from 'node:fs/promises';
import { systemErrorCode, toPrimaError } from '@prima/base';

/** Whether anything has this name, a dangling link too. Raises `permission`, `io`. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return false;
    throw toPrimaError(error, `looking at ${path}`);
  }
}
