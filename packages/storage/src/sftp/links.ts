/**
 * Hard links (hardlink@openssh.com): the one way in which SFTP gives a name to a finished file and fails where the name is
 * taken. Not every server knows them, nor every file system.
 */
import { PrimaError, StorageError, temporaryPrefix } from '@prima/base';
import { type FileCall, statFile } from './files.ts';
import { noSpace } from './room.ts';
import { SftpStatusError, Status } from './session.ts';

export interface Link {
  /** The store's folder. */
  root: string;
  /** The finished file, of so many bytes. */
  temporary: string;
  bytes: number;
  /** The name that it is to have. */
  path: string;
}

export class SftpLinks {
  /** A link was made, so the file system knows them. */
  #haveWorked = false;

  /**
   * Answers `exists` where the name is taken. Raises `unsupported` where links cannot be made at all, `no-space`, and else
   * the server's `SftpStatusError`.
   */
  async link(call: FileCall, link: Link): Promise<'created' | 'exists'> {
    const { session, doing } = call;
    const { temporary, path } = link;
    for (let tries = 1; ; tries += 1) {
      try {
        // not cancelled half way: an answer is due within the deadline
        await session.request<void>(doing, (sftp, answer) =>
          sftp.ext_openssh_hardlink(temporary, path, answer),
        );
        this.#haveWorked = true;
        return 'created';
      } catch (error) {
        if (!(error instanceof SftpStatusError)) throw error;
        // version 3 has no status of its own for a name that is taken
        const found = await statFile({ session, doing }, path);
        if (found?.isFile() === true) return 'exists';
        if (found) throw new StorageError('exists', `${doing}: ${path} is there and is not a file`);
        if (tries < 2) continue; // it may have been deleted meanwhile
        throw await this.#reason({ session, doing }, link, error);
      }
    }
  }

  /** A full disk and a missing folder say nothing about links, nor does any failure once one was made. */
  async #reason(call: FileCall, { root, bytes }: Link, error: SftpStatusError): Promise<PrimaError> {
    const full = await noSpace(call, root, { bytes, error });
    if (full) return full;
    // a file system without links fails (ENOTSUP) or forbids (EPERM): what the server makes of either
    const isOfLinks =
      error.status === Status.OP_UNSUPPORTED ||
      error.status === Status.FAILURE ||
      error.status === Status.PERMISSION_DENIED;
    if (this.#haveWorked || !isOfLinks) return error;
    const advice = 'objects can only be kept on a file system that knows hard links';
    return new StorageError('unsupported', `${error.message} to a hard link; ${advice}`, { cause: error });
  }
}

/** Asks for a link that cannot be made: who answers at all knows the request. */
export async function assertLinks({ session, doing, signal }: FileCall, root: string): Promise<void> {
  const none = `${root}/${temporaryPrefix}none`;
  try {
    await session.request<void>(
      doing,
      (sftp, answer) => sftp.ext_openssh_hardlink(`${none}/a`, `${none}/b`, answer),
      signal,
    );
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'unsupported') {
      throw new StorageError(
        'unsupported',
        `${doing}: the server cannot make hard links (hardlink@openssh.com), so objects could not be created ` +
          "atomically; use a server that can, for example OpenSSH's",
        { cause: error },
      );
    }
    if (!(error instanceof SftpStatusError)) throw error;
  }
}
