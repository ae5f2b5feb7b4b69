/** A folder (or prefix) of its own below a user's storage, for a test, and its removal with all that is in it. */
import { rm } from 'node:fs/promises';
import { assert, forEachBounded, PrimaError, toPrimaError } from '@prima/base';
import type { ObjectStore } from './object-store.ts';
import { folderOfUrl, openStore, type OpenStoreOptions } from './open-store.ts';
import { removeS3Probes } from './s3-store.ts';
import { removeSftpFolder } from './sftp-store.ts';

const scratchPattern = /\/prima-test-[0-9a-f]{12}$/;
const deletesAtOnce = 16;

/** `url` with `name` as one more segment of its path; parameters stay at the end. */
export function childUrl(url: string, name: string): string {
  const isUrl = url.includes('://');
  const at = isUrl ? url.indexOf('?') : -1;
  const [path, query] = at < 0 ? [url, ''] : [url.slice(0, at), url.slice(at)];
  return `${path.replace(/\/+$/, '')}/${name}${query}`;
}

/**
 * Removes what is below `url`, which must be a scratch folder. Returns the keys of objects that the store does not
 * let go because it keeps them.
 */
export async function removeScratch(url: string, options: OpenStoreOptions): Promise<string[]> {
  const [bare = ''] = url.includes('://') ? url.split('?') : [url];
  assert(scratchPattern.test(bare), `${bare} is a folder that was made for a test`);
  const folder = folderOfUrl(url);
  if (folder !== undefined) {
    // again where what a broken check left running still makes files
    await rm(folder, { recursive: true, force: true, maxRetries: 5 }).catch((error: unknown) => {
      throw toPrimaError(error, `removing the folder of the test, ${folder}`);
    });
    return [];
  }
  if (bare.startsWith('sftp:')) {
    await removeSftpFolder(url, options);
    return [];
  }
  const store = await openStore(url, options);
  try {
    const kept = await emptied(store);
    if (bare.startsWith('s3:')) await removeS3Probes(url);
    return kept;
  } finally {
    await store.close();
  }
}

async function emptied(store: ObjectStore): Promise<string[]> {
  const kept: string[] = [];
  await forEachBounded(store.list('', { namesOnly: true }), deletesAtOnce, async ({ key }) => {
    try {
      await store.delete(key);
    } catch (error) {
      if (!(error instanceof PrimaError) || error.code !== 'refused') throw error;
      kept.push(key);
    }
  });
  return kept;
}
