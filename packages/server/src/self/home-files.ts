/** The files of a home folder that a backup of the state holds. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemErrorCode } from '@prima/base';

/** In the home folder itself, and in those of other organisations. */
const names = ['hosts.json', 'datastores.json'];
const serverNames = ['server.key', 'server.crt', 'server.pem'];
const pattern =
  /^(?:server\.(?:key|crt|pem)|(?:organisations\/[\w-]{1,64}\/)?(?:hosts\.json|datastores\.json|repositories\/[\w-]{1,128}\/head\.json))$/;
const ownerOnly = 0o600;

/** True for a path that a backup may hold: nothing else is ever written from one. */
export const isHomeFile = (path: string): boolean =>
  pattern.test(path) && !/(?:^|\/)\.\.?(?:\/|$)/.test(path);

/** Path in the home folder and content of each. */
export async function* homeFiles(
  home: string,
): AsyncGenerator<{ path: string; mode: number; bytes: Buffer }> {
  const organisations = (await entries(join(home, 'organisations'))).map((id) => `organisations/${id}/`);
  const wanted = [...serverNames];
  for (const prefix of ['', ...organisations]) {
    wanted.push(...names.map((name) => `${prefix}${name}`));
    const seen = await entries(join(home, prefix, 'repositories'));
    wanted.push(...seen.map((id) => `${prefix}repositories/${id}/head.json`));
  }
  for (const path of wanted.filter(isHomeFile)) {
    const bytes = await content(join(home, path));
    if (bytes) yield { path, mode: ownerOnly, bytes };
  }
}

async function entries(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

async function content(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}
