/** The datastores that were named, kept in one small file: `{"version": 1, "datastores": [DatastoreDto]}`. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { DatastoreDto } from '@prima/api';
import { FormatError, PrimaError, replaceFile, systemErrorCode, toPrimaError, UserError } from '@prima/base';

/** Another's change takes milliseconds. */
const lockWaitMs = 5000;
const mostFolders = 32;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export class DatastoreRegistry {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** By name. Raises `format` when the file is damaged, `newer-version` when it is another Prima's. */
  async list(): Promise<DatastoreDto[]> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw toPrimaError(error, `reading the datastores in ${this.#path}`);
    }
    return parseDatastores(text, this.#path).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Raises `not-found` with those there are. */
  async get(name: string): Promise<DatastoreDto> {
    const all = await this.list();
    const found = all.find((one) => one.name === name);
    if (found) return found;
    const known = all.map((one) => one.name).join(', ') || 'none';
    throw new UserError(
      'not-found',
      `no datastore "${name}"; there are: ${known}; a folder is named with a /`,
    );
  }

  /** Raises `usage` for a malformed one, `exists` when the name is taken. */
  async add({ name, folders }: DatastoreDto): Promise<DatastoreDto> {
    if (!namePattern.test(name)) {
      throw new UserError(
        'usage',
        `"${name}" cannot be a datastore's name: letters, digits, ". _ -", 64 at most, beginning with a letter or digit`,
      );
    }
    if (folders.length === 0 || folders.length > mostFolders)
      throw new UserError('usage', `a datastore has 1 to ${mostFolders} folders, not ${folders.length}`);
    const added = { name, folders: await Promise.all(folders.map(folderAt)) };
    if (new Set(added.folders).size < folders.length)
      throw new UserError('usage', `the datastore "${name}": a folder is named twice`);
    await this.#change((all) => {
      if (all.every((one) => one.name !== name)) return [...all, added];
      throw new UserError('exists', `a datastore "${name}" is registered already; remove it first`);
    });
    return added;
  }

  /** Raises `not-found`. */
  async remove(name: string): Promise<void> {
    await this.get(name);
    await this.#change((all) => all.filter((one) => one.name !== name));
  }

  /** Two processes at once do not lose each other's change. */
  async #change(change: (all: DatastoreDto[]) => DatastoreDto[]): Promise<void> {
    const { acquireLock } = await import('@prima/engine/backup');
    await using _lock = await acquireLock(`${this.#path}.lock`, 'changing the datastores', lockWaitMs);
    const datastores = change(await this.list());
    await replaceFile(this.#path, `${JSON.stringify({ version: 1, datastores }, undefined, 2)}\n`);
  }
}

async function folderAt(path: string): Promise<string> {
  try {
    const real = await realpath(resolve(path));
    if ((await stat(real)).isDirectory()) return real;
  } catch (error) {
    throw toPrimaError(error, `looking at the folder ${path}`);
  }
  throw new UserError('usage', `${path} is no folder`);
}

function parseDatastores(text: string, path: string): DatastoreDto[] {
  const damaged = (what: string, cause?: unknown) =>
    new FormatError(
      `the datastores in ${path} cannot be read: ${what}; repair it, or remove it and add them again`,
      { cause, details: { path } },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged('it is not JSON', error);
  }
  const { version, datastores } = (value ?? {}) as { version?: unknown; datastores?: unknown };
  if (typeof version === 'number' && version > 1) {
    throw new PrimaError('newer-version', `${path} has version ${version}, this Prima knows 1; update Prima`);
  }
  if (version !== 1 || !Array.isArray(datastores)) throw damaged('"version" 1 and "datastores" are wanted');
  return datastores.map((one: unknown, index) => {
    const { name, folders } = (one ?? {}) as { name?: unknown; folders?: unknown };
    const isSound =
      typeof name === 'string' && Array.isArray(folders) && folders.every((f) => typeof f === 'string');
    if (!isSound) throw damaged(`datastore ${index + 1} needs a name and folders`);
    return { name, folders };
  });
}
