/** Operations on the repository as a whole: init, status, check, repair, collect. */
import type { CheckResult, NewRepositoryDto, PrimaApi, RepairRequest, RepairResult } from '@prima/api';
import { pointsOfMachine } from '@prima/repository';
import type { ObjectStore } from '@prima/storage';
import type { Call, Context } from '../context.ts';
import { addRecoveryKey } from './keys.ts';

export type RepositoryOperations = Pick<PrimaApi, 'init' | 'status' | 'check' | 'repair' | 'collect'>;

export function repositoryOperations(context: Context): RepositoryOperations {
  return {
    init: (request, options) =>
      context.run(options, async (): Promise<NewRepositoryDto> => {
        const { recovery = false, ...rest } = request;
        const repository = await context.createRepository(rest);
        const status = await repository.status();
        if (!recovery) return status;
        const { words } = await addRecoveryKey(repository, 'recovery');
        return { ...status, words };
      }),
    status: (options) => context.run(options, async () => (await context.repository()).status()),
    check: (request, options) =>
      context.run(options, async ({ signal, onProgress }) => {
        const started = performance.now();
        const repository = await context.repository();
        const { machine, readData = false, ...wanted } = request;
        const points =
          machine === undefined ? undefined : pointsOfMachine(await repository.points(), machine);
        const report = await repository.check({
          ...wanted,
          readData,
          ...(points && { points: points.map(({ id }) => id) }),
          signal,
          onProgress: (progress) => onProgress(progress.phase, progress),
        });
        const elapsedMs = performance.now() - started;
        return { ...report, ok: report.faults.length === 0, elapsedMs } satisfies CheckResult;
      }),
    repair: (request, options) => context.run(options, (call) => repair(context, request, call)),
    collect: (request, options) =>
      context.run(options, async ({ signal, onProgress }) => {
        const repository = await context.repository();
        return repository.collect({
          ...request,
          signal,
          onProgress: (progress) => onProgress(progress.phase, progress),
        });
      }),
  };
}

async function repair(
  context: Context,
  { from = [], ...request }: RepairRequest,
  { signal }: Call,
): Promise<RepairResult> {
  const repository = await context.repository();
  const copies: ObjectStore[] = [];
  try {
    for (const url of from) copies.push(await context.openCopy(url));
    return await repository.repair({ ...request, copies, signal });
  } finally {
    for (const copy of copies) await copy.close();
  }
}
