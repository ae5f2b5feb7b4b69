/** The hosts that machines are on, kept in one small file: `{"version": 1, "hosts": [HostDto]}`. */
import { readFile, realpath, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { HostDto } from '@prima/api';
import { FormatError, PrimaError, replaceFile, systemErrorCode, toPrimaError, UserError } from '@prima/base';

/** Another's change takes milliseconds. */
const lockWaitMs = 5000;

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export class HostRegistry {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** By name. Raises `format` when the file is damaged, `newer-version` when it is another Prima's. */
  async list(): Promise<HostDto[]> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if (systemErrorCode(error) === 'ENOENT') return [];
      throw toPrimaError(error, `reading the hosts in ${this.#path}`);
    }
    return parseHosts(text, this.#path).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Raises `not-found` with the hosts there are. */
  async get(name: string): Promise<HostDto> {
    const hosts = await this.list();
    const found = hosts.find((host) => host.name === name);
    if (found) return found;
    const known = hosts.map((host) => host.name).join(', ');
    const advice = known === '' ? 'there is none; add one with: prima host add' : `there are: ${known}`;
    throw new UserError('not-found', `no host "${name}"; ${advice}`);
  }

  /** Raises `usage` for a malformed one, `exists` when the name or the folder is taken. */
  async add(host: HostDto): Promise<HostDto> {
    checkHost(host);
    const added: HostDto = { ...host, location: await locationOf(host) };
    await this.#change((hosts) => {
      for (const other of hosts) {
        if (other.name !== added.name && other.location !== added.location) continue;
        const what =
          other.name === added.name ? `a host "${other.name}"` : `${other.location}, as "${other.name}",`;
        throw new UserError('exists', `${what} is registered already; remove it first`);
      }
      return [...hosts, added];
    });
    return added;
  }

  /** Forgets the host; its machines stay as they are. Raises `not-found`. */
  async remove(name: string): Promise<void> {
    await this.get(name);
    await this.#change((hosts) => hosts.filter((host) => host.name !== name));
  }

  /** Two processes at once do not lose each other's change. */
  async #change(change: (hosts: HostDto[]) => HostDto[]): Promise<void> {
    const { acquireLock } = await import('@prima/engine/backup');
    await using _lock = await acquireLock(`${this.#path}.lock`, 'changing the hosts', lockWaitMs);
    const hosts = change(await this.list());
    await replaceFile(this.#path, `${JSON.stringify({ version: 1, hosts }, undefined, 2)}\n`);
  }
}

function checkHost({ name, platform, location }: HostDto): void {
  if (!namePattern.test(name)) {
    throw new UserError(
      'usage',
      `"${name}" cannot be a host's name: letters, digits, ". _ -", 64 at most, beginning with a letter or digit`,
    );
  }
  if (!isKind(platform)) {
    throw new UserError(
      'unsupported',
      `hosts of the kind "${String(platform)}" are not known; ${kinds.join(' and ')} are`,
    );
  }
  if (typeof location !== 'string' || location === '') {
    throw new UserError(
      'usage',
      `the host "${name}" has no location; give the folder of its machines, or the address of its libvirt`,
    );
  }
}

const kinds: readonly string[] = ['qemu', 'libvirt'];

function isKind(kind: unknown): kind is HostDto['platform'] {
  return typeof kind === 'string' && kinds.includes(kind);
}

async function locationOf(host: HostDto): Promise<string> {
  if (host.platform === 'qemu') return await folderOf(host);
  const { openLibvirtHost } = await import('@prima/platforms');
  openLibvirtHost(host.name, host.location); // raises for what is no address
  return host.location;
}

async function folderOf({ name, location }: HostDto): Promise<string> {
  const path = resolve(location);
  try {
    if ((await stat(path)).isDirectory()) return await realpath(path);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw toPrimaError(error, `looking at ${path}`);
    throw new UserError('not-found', `the host "${name}": there is no folder ${path}; make it first`, {
      cause: error,
    });
  }
  throw new UserError('usage', `the host "${name}": ${path} is a file; give the folder of its machines`);
}

function parseHosts(text: string, path: string): HostDto[] {
  const damaged = (what: string, cause?: unknown) =>
    new FormatError(
      `the hosts in ${path} cannot be read: ${what}; repair it, or remove it and add the hosts again`,
      { cause, details: { path } },
    );
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw damaged(error instanceof Error ? error.message : 'not JSON', error);
  }
  const { version, hosts } = (value ?? {}) as { version?: unknown; hosts?: unknown };
  if (typeof version === 'number' && version > 1) {
    throw new PrimaError('newer-version', `${path} has version ${version}, this Prima knows 1; update Prima`);
  }
  if (version !== 1 || !Array.isArray(hosts)) throw damaged('a "version" of 1 and a list "hosts" are wanted');
  return hosts.map((host: unknown, index) => {
    const { name, platform, location } = (host ?? {}) as Partial<Record<keyof HostDto, unknown>>;
    const sound = typeof name === 'string' && typeof location === 'string' && isKind(platform);
    if (!sound)
      throw damaged(`host ${index + 1} needs a name, a platform (${kinds.join(', ')}) and a location`);
    return { name, platform, location };
  });
}
