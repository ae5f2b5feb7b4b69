/** How much room a file system has, for messages. */
import { statfs } from 'node:fs/promises';
import { formatBytes } from '@prima/base';

/** `; 3.2 MiB are free there: …`, the end of a message that says that something did not fit. */
export async function roomLeft(folder: string): Promise<string> {
  const { bavail, bsize } = await statfs(folder);
  return `; ${formatBytes(bavail * bsize)} are free there: make room, or collect what is no longer needed`;
}
