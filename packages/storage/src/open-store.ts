/** From what a person writes to a store. */
import { fileURLToPath } from 'node:url';
import { UserError } from '@prima/base';
import { openS3Store, openSftpStore } from './loaded-later.ts';
import { type LocalStoreOptions, openLocalStore } from './local-store.ts';
import type { ObjectStore } from './object-store.ts';
import type { SftpStoreOptions } from './sftp-store.ts';

export type OpenStoreOptions = LocalStoreOptions & SftpStoreOptions;

/**
 * Opens the store that `url` names: a folder's path, a `file://` URL, an `s3://` URL (see `openS3Store`) or an
 * `sftp://` URL (see `openSftpStore`). `create` makes a folder when it is not there, never a bucket. Raises
 * `unsupported` for other kinds of URL, and what opening that store raises.
 */
export async function openStore(url: string, options: OpenStoreOptions = {}): Promise<ObjectStore> {
  if (url === '')
    throw new UserError(
      'usage',
      'the store has no name; give a folder, a file://, an s3:// or an sftp:// URL',
    );
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined) return openLocalStore(url, options);
  if (scheme === 'file') return openLocalStore(pathOf(url), options);
  if (scheme === 's3') return openS3Store(url);
  if (scheme === 'sftp') return openSftpStore(url, options);
  if (!url.includes('://')) return openLocalStore(url, options);
  throw new UserError(
    'unsupported',
    `stores of the kind "${scheme}" are not known; a folder's path, file:///FOLDER, s3://BUCKET/PREFIX and ` +
      'sftp://USER@HOST/FOLDER are',
  );
}

/** True when `url` names a store on another machine: `s3://…`, `sftp://…`. */
export function isRemote(url: string): boolean {
  return url.includes('://') && !/^file:/i.test(url);
}

/** The folder that `url` names, for stores of folders of this machine; undefined for all others. */
export function folderOfUrl(url: string): string | undefined {
  if (/^file:/i.test(url)) return pathOf(url);
  return url.includes('://') ? undefined : url;
}

function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new UserError('usage', `"${url}" names no folder; write file:///srv/backups`, { cause: error });
  }
}
