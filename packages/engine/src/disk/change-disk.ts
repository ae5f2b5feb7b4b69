/** What every change of a disk begins with: its files found, free of others, and locked; and a journal entry around it. */
import { toPrimaError } from '@prima/base';
import { diskLockPath } from '../backup/bare-disk.ts';
import type { Journal, JournalEntry } from '../journal.ts';
import { acquireLock } from '../lock.ts';
import { assertUnused, type DiskParts, diskParts } from './disk-parts.ts';
import type { NamedDisk } from './inspect-disk.ts';

export interface ChangeOptions {
  journal: Journal;
  /** Where lock files go. */
  lockFolder: string;
  signal?: AbortSignal;
}

/**
 * Runs `task` on a disk that nobody else uses; what it intends in the entry is undone when it fails, or, once committed,
 * done to the end. Raises `busy`, and what finding the disk's files raises.
 * @param doing "renaming /srv/a.vmdk"
 */
export async function changeDisk<T>(
  disk: NamedDisk,
  { doing, journal, lockFolder }: ChangeOptions & { doing: string },
  task: (parts: DiskParts, entry: JournalEntry) => Promise<T>,
): Promise<T> {
  const { path } = await diskParts(disk);
  await using _lock = await acquireLock(diskLockPath(lockFolder, path), doing);
  const parts = await diskParts(disk); // as it is now that it is ours
  await assertUnused(parts.files, doing);
  const entry = await journal.begin(doing);
  try {
    const result = await task(parts, entry);
    await entry.end();
    return result;
  } catch (error) {
    const failure = toPrimaError(error, doing);
    await entry.undo();
    throw failure;
  }
}
