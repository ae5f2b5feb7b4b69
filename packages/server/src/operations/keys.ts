/** Operations on what opens a repository. */
import { readFile } from 'node:fs/promises';
import type { KeySlotDto, PrimaApi, SecretSource } from '@prima/api';
import { toPrimaError, UserError } from '@prima/base';
import { type KeySlotInfo, newRecoveryWords, type Repository, type Secret } from '@prima/repository';
import type { Context } from '../context.ts';

export type KeyOperations = Pick<
  PrimaApi,
  'keyList' | 'keyAdd' | 'keyRemove' | 'keyRotate' | 'keyRotateRoot'
>;

export function keyOperations(context: Context): KeyOperations {
  return {
    keyList: (options) =>
      context.run(options, async () => (await (await context.repository()).keySlots()).map(slotDto)),
    keyAdd: ({ secret, label, readOnly }, options) =>
      context.run(options, async () => {
        const repository = await context.repository();
        if (secret.kind === 'new-recovery') return await addRecoveryKey(repository, label, { readOnly });
        return slotDto(await repository.addKeySlot(await readSecret(secret), label, { readOnly }));
      }),
    keyRemove: ({ id, force }, options) =>
      context.run(options, async () => {
        await (await context.repository()).removeKeySlot(id, { force });
      }),
    keyRotate: (options) => context.run(options, async () => (await context.repository()).rotateKeys()),
    keyRotateRoot: ({ others = [], dropOthers }, options) =>
      context.run(options, async () => {
        const repository = await context.repository();
        const secrets = await Promise.all(others.map(readSecret));
        return await repository.rotateRootKey(secrets, { dropOthers });
      }),
  };
}

/** Adds a slot for a new recovery key; the words are in the answer and nowhere else. */
export async function addRecoveryKey(
  repository: Repository,
  label: string,
  options: { readOnly?: boolean } = {},
): Promise<KeySlotDto & { words: string[] }> {
  const words = await newRecoveryWords();
  const slot = await repository.addKeySlot({ kind: 'recovery', words }, label, options);
  return { ...slotDto(slot), words: words.split(' ') };
}

function slotDto({ id, kind, access, label, created }: KeySlotInfo): KeySlotDto {
  return { id, kind, access, label, created };
}

/** Reads what a person named. Raises `usage`, `not-found`, `permission`. */
export async function readSecret(source: SecretSource): Promise<Secret> {
  if (source.kind === 'recovery') return source;
  if (source.kind === 'passphrase') {
    if (source.text === '') throw new UserError('usage', 'the new passphrase is empty');
    return { kind: 'passphrase', text: source.text };
  }
  if (source.kind === 'keyfile-content') {
    return { kind: 'keyfile', bytes: Buffer.from(source.base64, 'base64') };
  }
  try {
    return { kind: 'keyfile', bytes: await readFile(source.path) };
  } catch (error) {
    throw toPrimaError(error, `reading the key file ${source.path}`);
  }
}
