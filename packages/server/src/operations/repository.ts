/** Operations on the repository as a whole: init, status, check, collect, keys. */
import { readFile } from 'node:fs/promises';
import type { CheckResult, KeySlotDto, PrimaApi, RepositoryDto, SecretSource } from '@prima/api';
import { toPrimaError, UserError } from '@prima/base';
import { createRepository, type KeySlotInfo, type Repository, type Secret } from '@prima/repository';
import type { Context } from '../context.ts';

export type RepositoryOperations = Pick<
  PrimaApi,
  'init' | 'status' | 'check' | 'collect' | 'keyList' | 'keyAdd' | 'keyRemove'
>;

export function repositoryOperations(context: Context): RepositoryOperations {
  return {
    init: (request, options) =>
      context.run(options, async () => {
        const secret = await context.secret();
        const store = await context.openStore({ create: true });
        try {
          const repository = await createRepository(store, { ...request, secret });
          context.keepRepository(repository);
          return await statusOf(repository);
        } catch (error) {
          await store.close();
          throw error;
        }
      }),
    status: (options) => context.run(options, async () => statusOf(await context.repository())),
    check: (request, options) =>
      context.run(options, async ({ signal, onProgress }) => {
        const started = performance.now();
        const repository = await context.repository();
        const report = await repository.check({
          readData: request.readData ?? false,
          signal,
          onProgress: (progress) => onProgress(progress.phase, progress),
        });
        const elapsedMs = performance.now() - started;
        return { ...report, ok: report.faults.length === 0, elapsedMs } satisfies CheckResult;
      }),
    collect: (request, options) =>
      context.run(options, async ({ signal, onProgress }) => {
        const repository = await context.repository();
        return repository.collect({
          ...request,
          signal,
          onProgress: (progress) => onProgress(progress.phase, progress),
        });
      }),
    keyList: (options) =>
      context.run(options, async () => (await (await context.repository()).keySlots()).map(slotDto)),
    keyAdd: ({ secret, label }, options) =>
      context.run(options, async () => {
        const repository = await context.repository();
        return slotDto(await repository.addKeySlot(await readSecret(secret), label));
      }),
    keyRemove: ({ id, force }, options) =>
      context.run(options, async () => {
        await (await context.repository()).removeKeySlot(id, { force });
      }),
  };
}

async function statusOf(repository: Repository): Promise<RepositoryDto> {
  return repository.status();
}

function slotDto({ id, kind, access, label, created }: KeySlotInfo): KeySlotDto {
  return { id, kind, access, label, created };
}

/** Reads what a person named. Raises `usage`, `not-found`, `permission`. */
export async function readSecret(source: SecretSource): Promise<Secret> {
  if (source.kind === 'passphrase') {
    if (source.text === '') throw new UserError('usage', 'the new passphrase is empty');
    return { kind: 'passphrase', text: source.text };
  }
  try {
    return { kind: 'keyfile', bytes: await readFile(source.path) };
  } catch (error) {
    throw toPrimaError(error, `reading the key file ${source.path}`);
  }
}
