/** Deletes a disk: every file that is its own, and no other. */
import { statIfThere, throwIfAborted } from '@prima/base';
import { type FileStep, identityOf } from '../file-steps.ts';
import { changeDisk, type ChangeOptions } from './change-disk.ts';
import { assertNoDependents } from './dependents.ts';
import { type DiskParts, diskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';

export interface DeletedDisk {
  path: string;
  /** All files, the one that names the others first; of those that are not there `size` is absent. */
  files: { path: string; size?: number }[];
}

/** What `deleteDisk` would delete. Raises what it would raise. */
export async function planDelete(disk: NamedDisk): Promise<DeletedDisk> {
  const parts = await diskParts(disk);
  await assertNoDependents(parts, `deleting ${parts.path}`);
  return { path: parts.path, files: await sizesOf(parts) };
}

/**
 * A crash on the way leaves an entry in the journal, and the next command deletes the rest. Raises `refused` where another
 * disk in the folder needs it, `busy`.
 */
export async function deleteDisk(disk: NamedDisk, options: ChangeOptions): Promise<DeletedDisk> {
  const doing = `deleting ${disk.path}`;
  return changeDisk(disk, { ...options, doing }, async (parts, entry) => {
    await assertNoDependents(parts, doing);
    const files = await sizesOf(parts);
    throwIfAborted(options.signal, doing);
    // what names the others goes last: whoever finds it still sees what belongs together
    await entry.commit(await removals(files));
    return { path: parts.path, files };
  });
}

async function removals(files: DeletedDisk['files']): Promise<FileStep[]> {
  const steps: FileStep[] = [];
  for (const { path, size } of files.toReversed()) {
    if (size === undefined) continue;
    steps.push({ kind: 'remove', path, file: await identityOf(path) });
  }
  return steps;
}

async function sizesOf({ files }: DiskParts): Promise<DeletedDisk['files']> {
  const sizes: DeletedDisk['files'] = [];
  for (const { path } of files) {
    const found = await statIfThere(path);
    sizes.push({ path, ...(found && { size: found.size }) });
  }
  return sizes;
}
