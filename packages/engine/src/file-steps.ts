/**
 * Changes of files that take several steps and end as a whole. The journal records all steps before the first is done; each
 * may be done again, and does nothing where it was done, so that whoever finds the record after a crash goes on to the end.
 * A step names the file that it is about by its identity, and touches no other that has come to its name meanwhile.
 */
import { type FileHandle, link, lstat, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute } from 'node:path';
import { PrimaError, syncFolder, systemErrorCode, temporaryPrefix, toPrimaError, writeAt } from '@prima/base';

/** Device, inode and time of birth of a file: what it is, whatever it is called. */
export type FileIdentity = string;

export type FileStep =
  /** The file gets another name, which nothing has; where it has both, the old one goes. */
  | { kind: 'move'; path: string; to: string; file: FileIdentity }
  /** A temporary file takes the place of what is at `to`, and its name. */
  | { kind: 'replace'; path: string; to: string; file: FileIdentity }
  | { kind: 'remove'; path: string; file: FileIdentity }
  /** `new` is written at `offset` over `old`, which is as long (both base64): sectors that hold neither were others' to change. */
  | { kind: 'bytes'; path: string; file: FileIdentity; offset: number; old: string; new: string }
  /** A file of `old` bytes is cut, or grows, to `size`. */
  | { kind: 'size'; path: string; file: FileIdentity; old: number; size: number };

const kinds: readonly string[] = ['move', 'replace', 'remove', 'bytes', 'size'];

/** The identity of what is at `path` (of a symbolic link, its own); undefined where nothing is. */
export async function identityAt(path: string): Promise<FileIdentity | undefined> {
  try {
    const { dev, ino, birthtimeNs } = await lstat(path, { bigint: true });
    return `${dev}:${ino}:${birthtimeNs}`;
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw toPrimaError(error, `looking at ${path}`);
  }
}

/** Raises `not-found`. */
export async function identityOf(path: string): Promise<FileIdentity> {
  const file = await identityAt(path);
  if (file !== undefined) return file;
  throw new PrimaError('not-found', `${path} is not there`, { details: { path } });
}

/** Does a step, or what of it is left to do; says what it did. Durable when it resolves. */
export async function doFileStep(step: FileStep): Promise<string[]> {
  try {
    return await doStep(step);
  } catch (error) {
    throw toPrimaError(error, `changing ${step.path}`);
  }
}

/** The same long after, when a file that is gone is nobody's concern any more. */
export async function recoverFileStep(step: FileStep): Promise<string[]> {
  try {
    return await doFileStep(step);
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'state') return [error.message];
    throw error;
  }
}

async function doStep(step: FileStep): Promise<string[]> {
  if (step.kind === 'move') return move(step);
  const { path, file } = step;
  const isThere = (await identityAt(path)) === file;
  if (step.kind === 'remove') return isThere ? remove(path) : [];
  if (step.kind === 'replace') return isThere ? replace(path, step.to) : [];
  if (!isThere) return []; // a later step has moved it on, so this one was done
  await using handle = await open(path, 'r+');
  const done = await (step.kind === 'size' ? resize(handle, step) : overwrite(handle, step));
  await handle.sync();
  return done;
}

async function resize(
  handle: FileHandle,
  { path, old, size }: FileStep & { kind: 'size' },
): Promise<string[]> {
  if ((await handle.stat()).size !== old) return [];
  await handle.truncate(size);
  return [`gave ${path} a size of ${size} bytes`];
}

const sector = 512;

/** A write that a crash tore left whole sectors, of before or of after. */
async function overwrite(handle: FileHandle, step: FileStep & { kind: 'bytes' }): Promise<string[]> {
  const [before, after] = [Buffer.from(step.old, 'base64'), Buffer.from(step.new, 'base64')];
  const found = Buffer.alloc(after.length);
  await handle.read(found, 0, found.length, step.offset);
  let isOurs = before.length === after.length;
  for (let at = 0; at < after.length; at += sector) {
    const same = (other: Buffer) => found.subarray(at, at + sector).equals(other.subarray(at, at + sector));
    isOurs &&= same(before) || same(after);
  }
  if (!isOurs) return [`left ${step.path} as it is: it was changed meanwhile`];
  if (found.equals(after)) return [];
  await writeAt(handle, after, step.offset);
  return [`changed ${step.path}`];
}

async function move({ path, to, file }: FileStep & { kind: 'move' }): Promise<string[]> {
  const [atOld, atNew] = [await identityAt(path), await identityAt(to)];
  if (atNew === undefined) {
    if (atOld !== file) throw new PrimaError('state', `the file is neither at ${path} nor at ${to}`);
    await rename(path, to);
  } else if (atNew !== file) {
    throw new PrimaError('exists', `${to} is there and is another file; move it away`);
  } else if (atOld === file) {
    await rm(path);
  } else {
    return [];
  }
  for (const folder of new Set([dirname(path), dirname(to)])) await syncFolder(folder);
  return [`renamed ${path} to ${to}`];
}

async function remove(path: string): Promise<string[]> {
  await rm(path);
  await syncFolder(dirname(path));
  return [`removed ${path}`];
}

async function replace(path: string, to: string): Promise<string[]> {
  await rename(path, to);
  await syncFolder(dirname(to));
  return [`replaced ${to}`];
}

/**
 * Gives the file a second name, so that both may be used; where there are no links, only the new one. What takes either back
 * is the step `move` from the new name to the old.
 */
export async function addName(path: string, to: string): Promise<void> {
  try {
    await link(path, to);
  } catch (error) {
    const code = systemErrorCode(error) ?? '';
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(code)) {
      throw toPrimaError(error, `renaming ${path} to ${to}`);
    }
    if ((await identityAt(to)) !== undefined) throw new PrimaError('exists', `${to} is there already`);
    await rename(path, to);
  }
  await syncFolder(dirname(to));
}

/** Whether a value from the journal is a step that may be done. */
export function isFileStep(value: unknown): value is FileStep {
  const step = value as Partial<Record<string, unknown>> | null;
  const { kind, path, file, to } = step ?? {};
  if (typeof kind !== 'string' || !kinds.includes(kind)) return false;
  if (typeof path !== 'string' || !isAbsolute(path) || typeof file !== 'string') return false;
  if (kind === 'move') return typeof to === 'string' && isAbsolute(to);
  if (kind === 'replace') {
    return typeof to === 'string' && isAbsolute(to) && basename(path).startsWith(temporaryPrefix);
  }
  if (kind === 'remove') return true;
  const [from, number] = kind === 'size' ? [step?.['old'], step?.['size']] : [0, step?.['offset']];
  if (![from, number].every((value) => Number.isSafeInteger(value) && Number(value) >= 0)) return false;
  return kind === 'size' || (typeof step?.['old'] === 'string' && typeof step['new'] === 'string');
}
