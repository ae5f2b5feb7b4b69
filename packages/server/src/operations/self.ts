/** Operations on Prima's own state. */
import { join } from 'node:path';
import type { PrimaApi } from '@prima/api';
import { UserError } from '@prima/base';
import type { Context } from '../context.ts';
import { backUpSelf } from '../self/back-up.ts';
import { restoreSelf } from '../self/restore.ts';

export type SelfOperations = Pick<PrimaApi, 'selfBackup' | 'selfRestore'>;

export function selfOperations(context: Context): SelfOperations {
  const { folder: home } = context.home;
  const own = join(home, 'server.sqlite');
  return {
    selfBackup: ({ file, database = own, passphrase }, options) =>
      context.run(options, async ({ signal, logger }) => {
        const made = await backUpSelf({ home, database, file, passphrase, logger, signal });
        return { file, ...made, encrypted: passphrase !== undefined };
      }),
    selfRestore: ({ file, database = own, passphrase }, options) =>
      context.run(options, ({ signal, logger }) => {
        const given = async () => {
          if (passphrase !== undefined) return passphrase;
          throw new UserError('usage', `${file} is encrypted; give its passphrase`);
        };
        return restoreSelf({ file, home, database, passphrase: given, logger, signal });
      }),
  };
}
