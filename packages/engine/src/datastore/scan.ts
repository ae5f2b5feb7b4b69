/** What lies in the folders of a datastore: every file, and what could not be looked at. Nothing is opened here. */
import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { PrimaError, throwIfAborted, toPrimaError, UserError } from '@prima/base';

export interface ScannedFile {
  path: string;
  /** Bytes that it seems to have, and that it takes. */
  size: number;
  allocated: number;
  /** Milliseconds since 1970. */
  modifiedMs: number;
}

export interface Unreadable {
  path: string;
  why: string;
}

export interface ScannedFolder {
  path: string;
  /** Of its file system, for us. */
  totalBytes: number;
  freeBytes: number;
}

export interface Scan {
  folders: ScannedFolder[];
  /** By their paths, in their order. */
  files: Map<string, ScannedFile>;
  unreadable: Unreadable[];
}

/** As many extents as a VMFS datastore has. */
export const mostFolders = 32;
const mostFiles = 200_000;
const deepest = 12;

/** Symbolic links are not followed, but for the folders themselves. Raises `usage`, `not-found`, `permission` for those alone. */
export async function scanFolders(paths: readonly string[], signal?: AbortSignal): Promise<Scan> {
  if (paths.length === 0 || paths.length > mostFolders) {
    throw new UserError('usage', `a datastore has 1 to ${mostFolders} folders, not ${paths.length}`);
  }
  const scan: Scan = { folders: [], files: new Map(), unreadable: [] };
  const real = new Set<string>();
  for (const path of paths) {
    const folder = await folderOf(path);
    if (real.has(folder.path)) continue;
    real.add(folder.path);
    scan.folders.push(folder);
  }
  for (const { path } of scan.folders) {
    const isInside = scan.folders.some((other) => other.path !== path && path.startsWith(`${other.path}/`));
    if (!isInside) await walk(scan, path, { depth: 0, signal });
  }
  scan.files = new Map([...scan.files].sort(([a], [b]) => (a < b ? -1 : 1)));
  return scan;
}

/** Without looking into the folders. Raises as `scanFolders` does. */
export async function datastoreRoom(paths: readonly string[]): Promise<ScannedFolder[]> {
  return await Promise.all(paths.map(folderOf));
}

async function folderOf(path: string): Promise<ScannedFolder> {
  try {
    const real = await realpath(path);
    if (!(await lstat(real)).isDirectory()) throw new UserError('usage', `${path} is no folder`);
    const { bsize, blocks, bavail } = await statfs(real);
    return { path: real, totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  } catch (error) {
    throw toPrimaError(error, `looking at the datastore's folder ${path}`);
  }
}

async function walk(
  scan: Scan,
  folder: string,
  at: { depth: number; signal: AbortSignal | undefined },
): Promise<void> {
  throwIfAborted(at.signal, `looking through ${folder}`);
  const say = (path: string, error: unknown) =>
    scan.unreadable.push({ path, why: toPrimaError(error, `looking at ${path}`).message });
  if (at.depth > deepest) {
    say(folder, new PrimaError('unsupported', `it lies more than ${deepest} folders deep`));
    return;
  }
  let entries: Dirent[];
  try {
    entries = await readdir(folder, { withFileTypes: true });
  } catch (error) {
    say(folder, error);
    return;
  }
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) await walk(scan, path, { ...at, depth: at.depth + 1 });
    else if (entry.isSymbolicLink())
      say(path, new PrimaError('unsupported', 'it is a symbolic link, which is not followed'));
    else if (entry.isFile()) await addFile(scan, path).catch((error: unknown) => say(path, error));
    if (scan.files.size > mostFiles) {
      throw new PrimaError('unsupported', `${folder}: more than ${mostFiles} files; name a smaller folder`);
    }
  }
}

async function addFile(scan: Scan, path: string): Promise<void> {
  const { size, blocks, mtimeMs } = await lstat(path);
  scan.files.set(path, { path, size, allocated: blocks * 512, modifiedMs: mtimeMs });
}
