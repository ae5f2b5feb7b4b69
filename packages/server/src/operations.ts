/** All operations, put together: what is behind the API's contract once it is loaded. */
import type { PrimaApi } from '@prima/api';
import type { ApplicationOptions } from './application.ts';
import { Context, type ContextOptions } from './context.ts';
import { demoOperations } from './demo/operation.ts';
import { backupOperations } from './operations/backup.ts';
import { copyOperations } from './operations/copy.ts';
import { hostOperations } from './operations/hosts.ts';
import { keyOperations } from './operations/keys.ts';
import { machineOperations } from './operations/machines.ts';
import { pointOperations } from './operations/points.ts';
import { repositoryOperations } from './operations/repository.ts';
import { restoreOperations } from './operations/restore.ts';
import { storageOperations } from './operations/storage.ts';

/** @param openAnother makes the application that the demonstration works with */
export function operations(
  options: ContextOptions,
  openAnother: (options: ApplicationOptions) => Promise<PrimaApi>,
): PrimaApi {
  const context = new Context(options);
  return {
    ...repositoryOperations(context),
    ...keyOperations(context),
    ...backupOperations(context),
    ...pointOperations(context),
    ...restoreOperations(context),
    ...copyOperations(context),
    ...storageOperations(context),
    ...hostOperations(context),
    ...machineOperations(context),
    ...demoOperations(context, (home, repository, text) =>
      openAnother({ home, repository, secret: async () => ({ kind: 'passphrase', text }) }),
    ),
    close: () => context.close(),
  };
}
