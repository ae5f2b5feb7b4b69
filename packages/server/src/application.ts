/** The application object: every operation of Prima, in process, behind the API's contract. */
import type { PrimaApi } from '@prima/api';
import { type Logger, silentLogger } from '@prima/base';
import type { Secret } from '@prima/repository';
import { Context } from './context.ts';
import { openHome } from './home.ts';
import { backupOperations } from './operations/backup.ts';
import { hostOperations } from './operations/hosts.ts';
import { machineOperations } from './operations/machines.ts';
import { pointOperations } from './operations/points.ts';
import { repositoryOperations } from './operations/repository.ts';
import { restoreOperations } from './operations/restore.ts';
import { demoOperations } from './demo/operation.ts';

export interface ApplicationOptions {
  /** The folder of Prima's own state; made where it is not there. */
  home: string;
  /** A folder's path or a URL; operations on points need it. */
  repository?: string;
  /** Called only when a repository is really opened or made. */
  secret?: () => Promise<Secret>;
  /** Gets what callers get as events, too. */
  logger?: Logger;
}

/**
 * Opens Prima on its home folder. Nothing else is opened before an operation needs it. Close it in the end: what
 * still runs is cancelled and cleaned up.
 */
export async function createApplication(options: ApplicationOptions): Promise<PrimaApi> {
  const { repository, secret, logger = silentLogger } = options;
  const context = new Context({ home: await openHome(options.home), repository, secret, logger });
  return {
    ...repositoryOperations(context),
    ...backupOperations(context),
    ...pointOperations(context),
    ...restoreOperations(context),
    ...hostOperations(context),
    ...machineOperations(context),
    ...demoOperations(context, (home, repository, text) =>
      createApplication({ home, repository, secret: async () => ({ kind: 'passphrase', text }) }),
    ),
    close: () => context.close(),
  };
}
