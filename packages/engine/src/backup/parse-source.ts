/** What a person means by SOURCE: a disk file, an OVA, a machine's folder or .vmx, an NBD export, HOST/MACHINE. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { systemErrorCode, toPrimaError, UserError } from '@prima/base';
import type { NbdUri } from '@prima/nbd';

export type SourceName = { notes: string[] } & (
  | { kind: 'disk-file'; path: string }
  /** An OVA, or an OVF envelope with its files. */
  | { kind: 'package'; path: string }
  /** A machine's folder that no known host has. */
  | { kind: 'folder'; folder: string; vmx: string }
  | { kind: 'nbd'; uri: NbdUri; text: string }
  | { kind: 'machine'; host: string; machine: string }
);

/** What the registry knows; `location` is the folder of a host that keeps machines in one. */
export interface KnownHost {
  name: string;
  location?: string;
}

/**
 * Finds out what `text` names. Where a path and HOST/MACHINE fit both, a registered host wins and a note
 * says how to write the path; a path that begins with `/`, `./` or `../` is always a path. A folder in a
 * known host's own folder is that host's machine. Raises `usage`, `not-found`, `ambiguous`.
 */
export async function parseSource(text: string, hosts: readonly KnownHost[]): Promise<SourceName> {
  if (text === '')
    throw new UserError('usage', 'a source is empty; give a disk file, a folder or HOST/MACHINE');
  if (/^nbds?(\+unix)?:/i.test(text)) {
    const { parseNbdUri } = await import('@prima/nbd');
    return { kind: 'nbd', uri: parseNbdUri(text), text, notes: [] };
  }
  const named = hostMachine(text, hosts);
  const found = await typeOf(text);
  if (named) {
    const notes =
      found === undefined
        ? []
        : [
            `"${text}" was taken for the machine ${named.machine} on the host ${named.host}; for the ${found} of that name write ./${text}`,
          ];
    return { kind: 'machine', ...named, notes };
  }
  if (found === undefined) throw notFound(text, hosts);
  if (found === 'folder') return folderSource(resolve(text), await vmxIn(text), hosts);
  if (extname(text).toLowerCase() === '.vmx')
    return folderSource(dirname(resolve(text)), resolve(text), hosts);
  const isPackage = /\.(?:ova|ovf)$/i.test(text);
  return { kind: isPackage ? 'package' : 'disk-file', path: resolve(text), notes: [] };
}

function hostMachine(
  text: string,
  hosts: readonly KnownHost[],
): { host: string; machine: string } | undefined {
  const slash = text.indexOf('/');
  const host = slash < 0 ? undefined : hosts.find(({ name }) => name === text.slice(0, slash));
  const machine = text.slice(slash + 1);
  return host && machine !== '' ? { host: host.name, machine } : undefined;
}

async function typeOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    const found = await stat(path);
    return found.isDirectory() ? 'folder' : 'file';
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw toPrimaError(error, `looking at ${path}`);
  }
}

async function vmxIn(path: string): Promise<string> {
  const folder = resolve(path);
  const names = await readdir(folder).catch((error: unknown) => {
    throw toPrimaError(error, `reading the folder ${folder}`);
  });
  const configurations = names.filter((name) => extname(name).toLowerCase() === '.vmx').sort();
  const own = configurations.filter((name) => name === `${basename(folder)}.vmx`);
  const [only, second] = own.length > 0 ? own : configurations;
  if (only === undefined) {
    throw new UserError(
      'not-found',
      `the folder ${folder} has no .vmx, so it is no machine's; name a disk file in it`,
    );
  }
  if (second !== undefined) {
    throw new UserError(
      'ambiguous',
      `the folder ${folder} has several: ${configurations.join(', ')}; name one`,
    );
  }
  return join(folder, only);
}

async function folderSource(folder: string, vmx: string, hosts: readonly KnownHost[]): Promise<SourceName> {
  const parent = dirname(await realpath(folder));
  for (const { name, location } of hosts) {
    if (location === undefined || (await realpathOr(location)) !== parent) continue;
    const machine = basename(folder);
    const notes = [`${folder} is the machine ${machine} of the host ${name}`];
    return { kind: 'machine', host: name, machine, notes };
  }
  return { kind: 'folder', folder, vmx, notes: [] };
}

/** A host's folder may be gone; that is not this source's business. */
async function realpathOr(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error;
    return path;
  }
}

function notFound(text: string, hosts: readonly KnownHost[]): UserError {
  const known =
    hosts.length === 0 ? 'none is registered (prima host add)' : hosts.map(({ name }) => name).join(', ');
  const host = /^[^/.][^/]*\/[^/]+$/.test(text) ? `, and no host "${text.split('/', 1)[0]}": ${known}` : '';
  return new UserError('not-found', `the source "${text}" does not exist: no such file or folder${host}`);
}
