/**
 * Makes durable what is read. Others see a file from the moment its name is linked, its writer syncs the folder only after
 * that: on file systems that keep no order of changes (btrfs) a power loss may take the name away while what a reader built
 * on it stays. So the folder of what is young is synced before the bytes are given out.
 */
import { dirname } from 'node:path';
import { syncFolder, systemErrorCode } from '@prima/base';

/** Older names are on the disk by themselves: file systems write their journals every 5 to 30 seconds. */
const youngMs = 120_000;
/** The clock of file times moves in steps of some milliseconds. */
const tickMs = 100;
const foldersRemembered = 1024;
/** File systems that are read-only, or have no sync of folders. */
const cannot: readonly (string | undefined)[] = [
  'EROFS',
  'EINVAL',
  'ENOTSUP',
  'EOPNOTSUPP',
  'EACCES',
  'EPERM',
];

export class SettledNames {
  /** When the newest sync of each folder began, milliseconds since 1970. */
  readonly #synced = new Map<string, number>();
  readonly #sync: (folder: string) => Promise<void>;

  constructor(sync: (folder: string) => Promise<void> = syncFolder) {
    this.#sync = sync;
  }

  /** @param changed the file's ctime, milliseconds since 1970 */
  async assure(path: string, changed: number): Promise<void> {
    const now = Date.now();
    if (now - changed > youngMs) return;
    const folder = dirname(path);
    if ((this.#synced.get(folder) ?? 0) > changed + tickMs) return;
    try {
      await this.#sync(folder);
    } catch (error) {
      if (!cannot.includes(systemErrorCode(error))) throw error;
    }
    this.#synced.delete(folder);
    this.#synced.set(folder, now);
    const [oldest] = this.#synced.keys();
    if (this.#synced.size > foldersRemembered && oldest !== undefined) this.#synced.delete(oldest);
  }
}
