/** Operations on storage, whether there is a repository or not. */
import type { PrimaApi } from '@prima/api';
import { testStorage, undeleteS3Objects } from '@prima/storage';
import type { Context } from '../context.ts';

export type StorageOperations = Pick<PrimaApi, 'storageTest' | 'storageUndelete'>;

export function storageOperations(context: Context): StorageOperations {
  return {
    storageTest: ({ url }, options) =>
      context.run(options, async ({ signal, logger, onProgress }) => {
        const started = performance.now();
        const report = await testStorage(url, {
          signal,
          logger,
          onProgress: (progress) => onProgress(progress.phase, progress),
        });
        return { ...report, elapsedMs: performance.now() - started };
      }),
    storageUndelete: ({ url, dryRun }, options) =>
      context.run(options, async ({ signal }) => ({
        url,
        keys: await undeleteS3Objects(url, { signal, dryRun: dryRun ?? false }),
      })),
  };
}
