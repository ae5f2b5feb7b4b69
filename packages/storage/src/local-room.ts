/** How much room a file system has, for messages. */
import { statfs } from 'node:fs/promises';
import { formatBytes } from '@prima/base';

/** `; 3 MiB are free, free some or …`, or nothing when the system does not tell. */
export async function roomLeft(folder: string): Promise<string> {
  const { bavail, bsize } = await statfs(folder);
  return `; ${formatBytes(bavail * bsize)} are free there: make room, or collect what is no longer needed`;
}
