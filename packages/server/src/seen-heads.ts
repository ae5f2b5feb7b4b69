/**
 * What this installation has seen of each repository, so that a rollback is noticed: one small file each,
 * `<folder>/<repository id>/head.json`, mode 0600, replaced atomically. It is not a cache: who removes it trusts the repository
 * as it is.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { FormatError, PrimaError, replaceFile, systemErrorCode, toPrimaError } from '@prima/base';
import type { SeenHead, Trust } from '@prima/repository';

const version = 1;

/** @param folder made where it is not there, mode 0700 */
export function seenHeads(folder: string): Trust {
  const pathOf = (repositoryId: string) => join(folder, repositoryId, 'head.json');
  return {
    load: async (repositoryId) => {
      const path = pathOf(repositoryId);
      try {
        return parseHead(await readFile(path, 'utf8'), path);
      } catch (error) {
        if (systemErrorCode(error) === 'ENOENT') return undefined;
        throw toPrimaError(error, `reading ${path}`);
      }
    },
    save: async (repositoryId, head) => {
      const path = pathOf(repositoryId);
      try {
        await mkdir(join(folder, repositoryId), { recursive: true, mode: 0o700 });
        await replaceFile(path, `${JSON.stringify({ version, ...head })}\n`);
      } catch (error) {
        throw toPrimaError(error, `writing ${path}`);
      }
    },
  };
}

function parseHead(text: string, path: string): SeenHead {
  const value = parsed(text, path);
  if (typeof value['version'] === 'number' && value['version'] > version)
    throw new PrimaError('newer-version', `${path} was written by a newer version of Prima; update Prima`);
  const { keySet, seq, digest, signer } = value;
  const isCount = (member: unknown) => Number.isSafeInteger(member) && Number(member) >= 0;
  const isHex = (member: unknown) => typeof member === 'string' && /^[0-9a-f]{64}$/.test(member);
  if (!isCount(keySet) || !isCount(seq) || !isHex(digest) || !isHex(signer)) throw damaged(path);
  return { keySet, seq, digest, signer } as SeenHead;
}

function parsed(text: string, path: string): Record<string, unknown> {
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>;
  } catch (error) {
    throw damaged(path, error);
  }
}

function damaged(path: string, cause?: unknown): FormatError {
  return new FormatError(
    `${path}, which says what this computer has seen of the repository, is damaged; when you trust the repository as it is, remove the file`,
    { cause },
  );
}
