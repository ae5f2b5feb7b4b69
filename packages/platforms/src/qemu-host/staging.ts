/**
 * Machines that are being made, restored or deleted live in hidden folders beside the others, with a note of who
 * works there: those whose process has died are removed by `recover`.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import {
  liveness,
  ownIdentity,
  PrimaError,
  type ProcessIdentity,
  replaceFile,
  syncFolder,
  systemErrorCode,
  toPrimaError,
  statIfThere,
} from '@prima/base';
import { readOptional } from './machine-folder.ts';

const stagedPrefix = '.prima-staged-';
const gonePrefix = '.prima-gone-';
/** A folder being made is without its owner's note for an instant. */
const ownerlessMs = 3_600_000;
const ownerName = '.owner.json';

/** Makes an empty staging folder in `root`. */
export async function makeStaging(root: string, name: string): Promise<string> {
  const folder = freshPath(root, stagedPrefix, name);
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    throw toPrimaError(error, `making ${folder}`);
  }
  await replaceFile(join(folder, ownerName), JSON.stringify(await ownIdentity()));
  return folder;
}

/** Gives the staged folder its name, at once and durably; raises `exists` where that is taken. */
export async function publish(root: string, staging: string, name: string): Promise<string> {
  const folder = join(root, name);
  await syncFolder(staging);
  try {
    await rename(staging, folder); // fails on a folder that is not empty
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR') {
      throw toPrimaError(error, `publishing ${folder}`);
    }
    throw new PrimaError('exists', `there is a machine or something else at ${folder} already`, {
      cause: error,
    });
  }
  // only now: without it `recover` of another process could take the staged folder for a dead one's
  await rm(join(folder, ownerName), { force: true });
  await syncFolder(root);
  return folder;
}

/** Takes a folder out of sight, at once, and removes it. */
export async function discardFolder(root: string, folder: string): Promise<void> {
  const away = freshPath(root, gonePrefix, basename(folder));
  await rename(folder, away);
  await syncFolder(root);
  await rm(away, { recursive: true, force: true });
}

/** Removes what dead processes left; answers which. */
export async function removeDeadStaging(root: string): Promise<string[]> {
  const removed: string[] = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    const folder = join(root, entry.name);
    if (!entry.isDirectory() || !(await isDead(folder, entry.name))) continue;
    await rm(folder, { recursive: true, force: true });
    removed.push(folder);
  }
  return removed;
}

async function isDead(folder: string, name: string): Promise<boolean> {
  if (name.startsWith(gonePrefix)) return true;
  if (!name.startsWith(stagedPrefix)) return false;
  const owner = await readOwner(folder);
  if (owner) return (await liveness(owner)) === 'dead';
  const info = await statIfThere(folder);
  return info !== undefined && Date.now() - info.mtimeMs > ownerlessMs;
}

async function readOwner(folder: string): Promise<ProcessIdentity | undefined> {
  const text = await readOptional(join(folder, ownerName));
  try {
    const value = JSON.parse(text ?? '{}') as Partial<ProcessIdentity>;
    return typeof value.pid === 'number' && typeof value.boot === 'string'
      ? (value as ProcessIdentity)
      : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined; // half written: its folder's age decides
    throw error;
  }
}

function freshPath(root: string, prefix: string, name: string): string {
  return join(root, `${prefix}${name.slice(0, 80)}-${randomBytes(4).toString('hex')}`);
}
