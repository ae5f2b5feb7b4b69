/** How much room a file system has, for messages. */
import { statfs } from 'node:fs/promises';
import { formatBytes } from '@prima/base';

/** `: 3.2 MiB are free there`, or why it did not fit all the same; the end of a message. */
export async function roomLeft(folder: string, bytes: number): Promise<string> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  // whoever else did not fit has given back by now what it had taken
  const found =
    free < bytes ? `${formatBytes(free)} are free there` : 'it was full with what others wrote meanwhile';
  return `: ${found}; make room, or collect what is no longer needed`;
}
