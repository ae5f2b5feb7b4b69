/** Operations that check disk files and change them. */
import { resolve } from 'node:path';
import type { CallOptions, DiskChangeApi } from '@prima/api';
import {
  type ChangeOptions,
  checkDisk,
  deleteDisk,
  extendDisk,
  inflateDisk,
  planDelete,
  punchDisk,
  renameDisk,
  repairDisk,
} from '@prima/engine';
import type { Call, Context } from '../context.ts';

type ChangeApi = Omit<DiskChangeApi, 'diskCreate' | 'diskConvert' | 'diskClone'>;

export function diskChangeOperations(context: Context): ChangeApi {
  const changing = <T>(
    options: CallOptions | undefined,
    task: (change: ChangeOptions & Pick<Call, 'onProgress'>) => Promise<T>,
  ) =>
    context.run(options, async ({ signal, logger, onProgress }) => {
      const journal = await context.recover(logger);
      return task({ journal, lockFolder: context.home.locks, signal, onProgress });
    });
  const checking = (disk: Parameters<typeof checkDisk>[0], options?: CallOptions) =>
    context.run(options, ({ signal }) => checkDisk(disk, signal));
  return {
    diskCheck: checking,
    diskRepair: ({ apply, ...disk }, options) =>
      apply ? changing(options, (change) => repairDisk(disk, change)) : checking(disk, options),
    diskExtend: ({ size, eagerZero, ...disk }, options) =>
      changing(options, (change) => extendDisk(disk, { ...change, size, eagerZero })),
    diskInflate: (disk, options) => changing(options, (change) => inflateDisk(disk, change)),
    diskPunch: (disk, options) => changing(options, (change) => punchDisk(disk, change)),
    diskRename: ({ target, ...disk }, options) =>
      changing(options, (change) => renameDisk(disk, resolve(target), change)),
    diskDelete: ({ apply, ...disk }, options) =>
      changing(options, async (change) => {
        const deleted = apply === true;
        return { ...(await (deleted ? deleteDisk(disk, change) : planDelete(disk))), deleted };
      }),
  };
}
