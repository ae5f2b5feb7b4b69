/** Why a server fails to write: SFTP has no status for a full disk. */
import { StorageError } from '@prima/base';
import type { FileCall } from './files.ts';
import { type SftpStatusError, Status } from './session.ts';

/** The `no-space` to raise instead of `error` where the file system of `root` has less than `bytes` left. */
export async function noSpace(
  { session, doing }: FileCall,
  root: string,
  { bytes, error }: { bytes: number; error: SftpStatusError },
): Promise<StorageError | undefined> {
  if (error.status !== Status.FAILURE) return undefined;
  const room = await session
    .request<{ f_bavail: number; f_frsize: number }>(doing, (sftp, answer) =>
      sftp.ext_openssh_statvfs(`${root}/`, answer),
    )
    .catch(() => undefined); // it was only for the message
  const free = room && room.f_bavail * room.f_frsize;
  if (free === undefined || free >= bytes) return undefined;
  return new StorageError(
    'no-space',
    `${doing}: no room for its ${bytes} bytes: ${free} are free on the server; make room, or collect what is no longer needed`,
    { cause: error },
  );
}
