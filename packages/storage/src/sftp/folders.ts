/** The store's folder on the server and the folders in it, made where they are missing. */
import { StorageError } from '@prima/base';
import { type FileCall, statFile } from './files.ts';
import type { SftpLocation } from './location.ts';
import { SftpStatusError } from './session.ts';

export class SftpFolders {
  /** Absolute, without a `/` at its end. */
  root = '';
  /** Folders that are there, or are being made. */
  readonly #made = new Map<string, Promise<void>>();

  async findRoot({ session, doing, signal }: FileCall, { path, fromHome }: SftpLocation): Promise<void> {
    if (!fromHome) {
      this.root = path;
      return;
    }
    const home = await session.request<string>(doing, (sftp, answer) => sftp.realpath('.', answer), signal);
    this.root = `${home.replace(/\/+$/, '')}/${path}`.replace(/\/+$/, '');
  }

  /** Makes the store's folder and those above it. */
  async makeRoot(call: FileCall): Promise<void> {
    if ((await statFile(call, this.root))?.isDirectory() === true) return;
    let path = '';
    for (const segment of this.root.split('/').filter((name) => name !== '')) {
      path += `/${segment}`;
      if ((await statFile(call, path)) === undefined) await makeFolder(call, path);
    }
  }

  /** Makes the folders that `key` is in, once. */
  async make(call: FileCall, key: string): Promise<void> {
    let path = this.root;
    for (const segment of key.split('/').slice(0, -1)) {
      path += `/${segment}`;
      let made = this.#made.get(path);
      if (made === undefined) {
        const folder = path;
        made = makeFolder(call, folder);
        this.#made.set(folder, made);
        made.catch(() => this.#made.delete(folder)); // raised just below
      }
      await made;
    }
  }

  /** Looks anew at the next object: a folder may have been removed. */
  forget(): void {
    this.#made.clear();
  }
}

async function makeFolder(call: FileCall, path: string): Promise<void> {
  const { session, doing } = call;
  try {
    await session.request<void>(doing, (sftp, answer) => sftp.mkdir(path, { mode: 0o700 }, answer));
  } catch (error) {
    if (!(error instanceof SftpStatusError)) throw error;
    const found = await statFile({ session, doing }, path); // version 3 does not tell a name that is taken
    if (found?.isDirectory() === true) return;
    if (found === undefined) throw error;
    throw new StorageError('exists', `${doing}: ${path} on the server is not a folder`, { cause: error });
  }
}
