/** Tidying a folder of an SFTP server. */
import { temporaryPrefix } from '@prima/base';
import { removeLeftovers } from '../leftovers.ts';
import { type FileCall, readFolder } from './files.ts';
import { SftpStatusError } from './session.ts';

/** Each folder costs three round trips: fewer than on this machine. */
const limits = { names: 20_000, folders: 400 };

/** Removes the temporary files below `root` that are older than a day. */
export async function tidySftp(call: FileCall, root: string, now: number): Promise<number> {
  const tree = {
    read: async (folder: string) => {
      const entries = (await tolerant(readFolder(call, `${root}/${folder}`))) ?? [];
      const temporaries = entries.filter(
        ({ filename, attrs }) => filename.startsWith(temporaryPrefix) && attrs.isFile(),
      );
      return {
        folders: entries
          .filter(({ attrs }) => attrs.isDirectory())
          .map(({ filename }) => `${folder}${filename}/`),
        temporaries: temporaries.map(({ filename, attrs }) => ({
          path: folder + filename,
          modified: attrs.mtime * 1000,
        })),
        names: entries.length,
      };
    },
    remove: async (path: string) => {
      const { session, doing, signal } = call;
      const removed = session
        .request<void>(doing, (sftp, answer) => sftp.unlink(`${root}/${path}`, answer), signal)
        .then(() => true);
      return (await tolerant(removed)) ?? false;
    },
  };
  return removeLeftovers(tree, now, limits);
}

/** What the server refuses, vanished meanwhile or is not ours to remove: what is left hurts nobody. */
async function tolerant<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof SftpStatusError) return undefined;
    throw error;
  }
}
