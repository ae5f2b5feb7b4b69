/**
 * Where an SFTP store is: `sftp://[user@]host[:port]/folder?parameter=value&…`. The path is absolute; `/~/folder`
 * begins at the folder that the server puts the user in. Parameters name files, never secrets.
 */
import { homedir, userInfo } from 'node:os';
import { resolve } from 'node:path';
import { UserError } from '@prima/base';
import type { SshLocation } from '@prima/ssh';

export interface SftpLocation extends SshLocation {
  /** Absolute; or, with `fromHome`, relative to the user's folder on the server. No `/` at its end. */
  path: string;
  fromHome: boolean;
}

const defaultTimeoutMs = 60_000;
const parameterNames = ['identity', 'passphrase-file', 'password-file', 'known-hosts', 'timeout'];

/** Raises `usage`, without repeating what may be a password. */
export function parseSftpLocation(text: string): SftpLocation {
  const url = URL.parse(text);
  if (url === null || url.protocol !== 'sftp:' || url.hostname === '') {
    throw new UserError('usage', 'this is no SFTP address; write sftp://user@host:22/folder');
  }
  if (url.password !== '') {
    throw new UserError(
      'usage',
      'a password has no place in an address, where others can see it; put it in a file and add ?password-file=FILE',
    );
  }
  const host = decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1');
  const user = url.username === '' ? userInfo().username : decodeURIComponent(url.username);
  const port = url.port === '' ? 22 : Number(url.port);
  const { path, fromHome } = parsePath(url);
  const shownHost = host.includes(':') ? `[${host}]` : host;
  return {
    user,
    host,
    port,
    path,
    fromHome,
    identityParameter: 'identity',
    url: `sftp://${user}@${shownHost}${port === 22 ? '' : `:${port}`}${fromHome ? '/~/' : ''}${path}`,
    ...parseParameters(url.searchParams),
  };
}

function parsePath(url: URL): { path: string; fromHome: boolean } {
  const path = decodeURIComponent(url.pathname).replace(/\/+$/, '');
  if (url.pathname === '' || path.includes('\0') || path.split('/').includes('..')) {
    throw new UserError(
      'usage',
      'the SFTP address names no folder; write sftp://user@host/folder, or sftp://user@host/~/folder ' +
        'for one below the home folder there',
    );
  }
  const fromHome = path === '/~' || path.startsWith('/~/');
  return { path: fromHome ? path.slice(3) : path, fromHome };
}

function parseParameters(
  given: URLSearchParams,
): Omit<SftpLocation, 'user' | 'host' | 'port' | 'path' | 'fromHome' | 'url' | 'identityParameter'> {
  for (const name of given.keys()) {
    if (parameterNames.includes(name)) continue;
    throw new UserError(
      'usage',
      `an SFTP address has no parameter "${name}"; known are ${parameterNames.join(', ')}`,
    );
  }
  const file = (name: string) => {
    const value = given.get(name);
    return value === null ? undefined : resolve(value.replace(/^~(?=\/)/, homedir()));
  };
  const [identityFile, passphraseFile] = [file('identity'), file('passphrase-file')];
  const [passwordFile, knownHostsFile] = [file('password-file'), file('known-hosts')];
  return {
    timeoutMs: parseTimeout(given.get('timeout')),
    ...(identityFile !== undefined && { identityFile }),
    ...(passphraseFile !== undefined && { passphraseFile }),
    ...(passwordFile !== undefined && { passwordFile }),
    ...(knownHostsFile !== undefined && { knownHostsFile }),
  };
}

function parseTimeout(text: string | null): number {
  if (text === null) return defaultTimeoutMs;
  const seconds = Number(text);
  if (/^\d{1,3}$/.test(text) && seconds >= 1 && seconds <= 600) return seconds * 1000;
  throw new UserError('usage', `timeout=${text} of an SFTP address is not a number of seconds from 1 to 600`);
}
