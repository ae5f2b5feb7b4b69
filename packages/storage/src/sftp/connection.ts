/** SFTP over an SSH connection. */
import { type Logger, PrimaError, RemoteError, withDeadline } from '@prima/base';
import { connectSsh, type SshConnection } from '@prima/ssh';
import type { SFTPWrapper } from 'ssh2';
import type { SftpLocation } from './location.ts';

export interface SftpConnection {
  readonly sftp: SFTPWrapper;
  /** Calls `listener` once when the connection is gone, with the reason where one is known. */
  onLost(listener: (reason: string) => void): void;
  /** Ends it at once; nothing is waited for. */
  destroy(): void;
}

/** Raises as `connectSsh` does, and `unsupported` for a server without SFTP. */
export async function connectSftp(
  location: SftpLocation,
  options: { logger: Logger },
): Promise<SftpConnection> {
  const ssh = await connectSsh(location, options);
  const { url, timeoutMs } = location;
  try {
    const open = () => openSftp(ssh, url);
    return await withDeadline(timeoutMs, `connecting to ${url}`, open);
  } catch (error) {
    ssh.destroy();
    throw error;
  }
}

function openSftp(ssh: SshConnection, url: string): Promise<SftpConnection> {
  const lost = Promise.withResolvers<string>();
  const onLost = async (listener: (reason: string) => void) => listener(await lost.promise);
  ssh.onLost(lost.resolve);
  return new Promise((resolve, reject) => {
    void onLost((reason) => reject(new RemoteError(`connecting to ${url}: ${reason}`, { retryable: true })));
    ssh.client.sftp((error, sftp) => {
      if (error) {
        const message = `connecting to ${url}: the server gives no SFTP: ${error.message}`;
        reject(new PrimaError('unsupported', message, { cause: error }));
        return;
      }
      sftp.on('error', (failure: Error) => lost.resolve(failure.message));
      sftp.on('close', () => lost.resolve('the server ended SFTP'));
      resolve({ sftp, destroy: () => ssh.destroy(), onLost: (listener) => void onLost(listener) });
    });
  });
}
