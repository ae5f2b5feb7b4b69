/**
 * The folder of Prima's own state, mode 0700:
 *
 *   hosts.json   the hosts that machines are on
 *   datastores.json  the folders that were named as datastores
 *   journal/     intents of running work; see the engine's journal
 *   locks/       one backup of a bare disk at a time
 *   exports/     what is written to writable exports, while they last
 *   repositories/  what was seen of each, so that a rollback is noticed
 *   cache/       what was read of repositories; may be removed at any time, also while it is used
 */
import { chmod, mkdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { toPrimaError, UserError } from '@prima/base';

export interface Home {
  readonly folder: string;
  readonly hosts: string;
  readonly datastores: string;
  readonly journal: string;
  readonly locks: string;
  readonly exports: string;
  readonly cache: string;
  readonly repositories: string;
}

const othersMask = 0o077;

/** Makes the folder where it is not there, and closes it to others. Raises `usage`, `permission`, `io`. */
export async function openHome(path: string): Promise<Home> {
  if (path === '') throw new UserError('usage', 'the home folder has no name; set --home or PRIMA_HOME');
  const folder = resolve(path);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const { mode } = await stat(folder);
    if ((mode & othersMask) !== 0) await chmod(folder, 0o700);
  } catch (error) {
    throw toPrimaError(error, `opening the home folder ${folder}`);
  }
  return {
    folder,
    hosts: join(folder, 'hosts.json'),
    datastores: join(folder, 'datastores.json'),
    journal: join(folder, 'journal'),
    locks: join(folder, 'locks'),
    exports: join(folder, 'exports'),
    cache: join(folder, 'cache'),
    repositories: join(folder, 'repositories'),
  };
}
