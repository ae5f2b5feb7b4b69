/** Which other disks in a disk's folder need it: its children, and disks that name the same files. */
import { readdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { PrimaError, statIfThere, toPrimaError } from '@prima/base';
import { findParent, localFolder, type LinkText, namedFiles } from '@prima/formats';
import { type DiskParts, redoLogName } from './disk-parts.ts';

export interface Dependent {
  path: string;
  /** `child`: reads from the disk what it does not hold; `log`: a redo log by its name; `shares`: uses a file of it. */
  how: 'child' | 'log' | 'shares';
  format: 'vmdk' | 'qcow2';
  /** Of a VMDK. */
  text?: LinkText;
}

const fileLimit = 10_000;

/** Looks at every file in the folder of the disk. */
export async function dependentsOf(disk: DiskParts): Promise<Dependent[]> {
  const own = new Set(disk.files.map(({ path }) => path));
  const folder = dirname(disk.path);
  const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    throw toPrimaError(error, `looking for disks that need ${disk.path}`);
  });
  if (entries.length > fileLimit) {
    throw new PrimaError(
      'refused',
      `${folder} holds ${entries.length} files, and which of them need ${disk.path} is looked for in ${fileLimit} at most; ` +
        'move the disk to a folder of its own',
    );
  }
  const found: Dependent[] = [];
  const log = redoLogName(disk.path);
  for (const entry of entries) {
    const path = join(folder, entry.name);
    if (!entry.isFile() || own.has(path)) continue;
    const dependent = await dependentAt(path, own);
    if (dependent) found.push(path === log ? { ...dependent, how: 'log' } : dependent);
  }
  if (!found.some(({ path }) => path === log) && (await statIfThere(log)))
    found.push({ path: log, how: 'log', format: 'vmdk' });
  return found;
}

/** Raises `refused`, naming those that need the disk. */
export async function assertNoDependents(disk: DiskParts, doing: string): Promise<void> {
  const [first, ...others] = await dependentsOf(disk);
  if (!first) return;
  const what = { child: 'is based on it', log: 'is its redo log', shares: 'uses its files' }[first.how];
  const more = others.length === 0 ? '' : `, and ${others.length} more`;
  throw new PrimaError(
    'refused',
    `${doing}: ${first.path} ${what}${more}, and would be worth nothing afterwards; consolidate or delete it first`,
    { details: { path: disk.path, dependents: [first, ...others].map(({ path }) => path) } },
  );
}

async function dependentAt(path: string, own: ReadonlySet<string>): Promise<Dependent | undefined> {
  const named = await namedFiles(path);
  if (named?.format === 'vmdk') return vmdkDependent(named.text, own);
  if (named === undefined) return undefined;
  const { format, backingFile = '', dataFile = '' } = named;
  if (own.has(resolve(dirname(path), backingFile))) return { path, how: 'child', format };
  return own.has(resolve(dirname(path), dataFile)) ? { path, how: 'shares', format } : undefined;
}

async function vmdkDependent(text: LinkText, own: ReadonlySet<string>): Promise<Dependent | undefined> {
  const { path, parent, descriptor } = text;
  const folder = localFolder([dirname(path)]);
  const reachable = async (task: () => Promise<string>) => {
    try {
      return await task();
    } catch (error) {
      // names that lead nowhere, or out of the folder, do not lead to the disk
      if (error instanceof PrimaError && ['not-found', 'refused'].includes(error.code)) return undefined;
      throw error;
    }
  };
  const parentPath = parent && (await reachable(() => findParent(path, parent, folder)));
  if (parentPath !== undefined && own.has(parentPath)) return { path, how: 'child', format: 'vmdk', text };
  if (text.format !== 'descriptor') return undefined;
  for (const { file } of descriptor?.extents ?? []) {
    const extent = file === undefined ? undefined : await reachable(() => folder.resolve(file, path));
    if (extent !== undefined && own.has(extent)) return { path, how: 'shares', format: 'vmdk', text };
  }
  return undefined;
}
