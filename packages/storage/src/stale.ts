/**
 * ESTALE: a network file system says that a file it had handed out is not there any more, because another computer
 * removed it or its folder. Asking anew by name tells what is there now.
 */
import { StorageError, systemErrorCode } from '@prima/base';

/** Runs `task` once more when it met a stale file; it must begin with names, not with open files. */
export async function onceMoreWhenStale<T>(doing: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (systemErrorCode(error) !== 'ESTALE') throw error;
  }
  try {
    return await task();
  } catch (error) {
    if (systemErrorCode(error) !== 'ESTALE') throw error;
    throw new StorageError('io', `${doing}: the file system says twice that the file is stale (ESTALE)`, {
      retryable: true,
      cause: error,
    });
  }
}
