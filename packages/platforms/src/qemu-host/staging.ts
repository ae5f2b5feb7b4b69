/**
 * Machines that are being made, restored or deleted live in hidden folders beside the others, whose names say
 * which process works there: those whose process has died are removed by `recover`.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { livenessOfTag, ownTag, PrimaError, syncFolder, systemErrorCode, toPrimaError } from '@prima/base';

const stagedPrefix = '.prima-staged-';
const gonePrefix = '.prima-gone-';

/** Makes an empty staging folder in `root`; its name says whose it is. */
export async function makeStaging(root: string, name: string): Promise<string> {
  const folder = freshPath(root, stagedPrefix, `${name.slice(0, 80)}-${await ownTag()}`);
  try {
    await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    throw toPrimaError(error, `making ${folder}`);
  }
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
    if (!entry.isDirectory() || !(await isDead(entry.name))) continue;
    await rm(folder, { recursive: true, force: true });
    removed.push(folder);
  }
  return removed;
}

async function isDead(name: string): Promise<boolean> {
  if (name.startsWith(gonePrefix)) return true;
  const [, tag] = (name.startsWith(stagedPrefix) && /-([^-]+)-[0-9a-f]{8}$/.exec(name)) || [];
  return tag !== undefined && (await livenessOfTag(tag)) === 'dead';
}

function freshPath(root: string, prefix: string, name: string): string {
  return join(root, `${prefix}${name.slice(0, 150)}-${randomBytes(4).toString('hex')}`);
}
