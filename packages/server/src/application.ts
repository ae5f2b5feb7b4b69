/** The application object: every operation of Prima, in process, behind the API's contract. */
import type { PrimaApi } from '@prima/api';
import { type Logger, silentLogger } from '@prima/base';
import type { Secret } from '@prima/repository';
import { openHome } from './home.ts';
import { LogRelay } from './log-relay.ts';
import { RepositoryAccess, type StoreSettings } from './repository-access.ts';

export interface ApplicationOptions {
  /** The folder of Prima's own state; made where it is not there. */
  home: string;
  /** A folder's path or a URL; operations on points need it. */
  repository?: string;
  /** Called only when a repository is really opened or made. */
  secret?: () => Promise<Secret>;
  /** The first operation needs the repository: opening begins at once, beside the loading of the rest. */
  opensRepository?: boolean;
  /** And it moves chunks. */
  movesChunks?: boolean;
  /** How the repository's store is used. */
  store?: StoreSettings;
  /** Gets what callers get as events, too. */
  logger?: Logger;
}

/**
 * Opens Prima on its home folder. Nothing else is opened before an operation needs it. Close it in the end: what
 * still runs is cancelled and cleaned up.
 */
export async function createApplication(options: ApplicationOptions): Promise<PrimaApi> {
  const { repository, secret, store, logger = silentLogger } = options;
  const { opensRepository = false, movesChunks } = options;
  const home = await openHome(options.home);
  const relay = new LogRelay(logger);
  const access = new RepositoryAccess({ repository, secret, store, home, movesChunks, logger: relay.logger });
  if (opensRepository) await access.prepare();
  const { operations } = await import('./operations.ts');
  return operations({ home, access, store, logger, relay }, createApplication);
}
