/**
 * libvirt's URIs (https://libvirt.org/uri.html): `driver[+transport]://[user@][host][:port]/path?parameter=value&…`.
 * Without a transport it is a unix socket of this machine, or TLS where a host is named.
 */
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { UserError } from '@prima/base';
import type { SshLocation } from '@prima/ssh';

/** Where the daemon is. Sockets are tried in their order. */
export type LibvirtTarget =
  | {
      transport: 'unix';
      socketPaths: string[];
      /** They are the daemon's own, none was named. */
      isUsual: boolean;
    }
  | { transport: 'tcp'; host: string; port: number }
  | TlsTarget
  | SshTarget;

export interface TlsTarget {
  transport: 'tls';
  host: string;
  port: number;
  /** A folder with cacert.pem, clientcert.pem and clientkey.pem, instead of libvirt's usual places. */
  pkiFolder?: string;
  /** False: whoever answers is taken for the host. */
  verify: boolean;
}

export interface SshTarget {
  transport: 'ssh';
  server: SshLocation;
  /** Empty for a user's own daemon, whose socket only the host knows. */
  socketPaths: string[];
  /** How the socket is reached; `auto` tries what there is. */
  proxy: 'auto' | 'native' | 'netcat';
  /** The netcat of the host. */
  netcat: string;
}

export interface LibvirtUri {
  target: LibvirtTarget;
  /** What the daemon is asked to open: `qemu:///system`. */
  name: string;
  /** For messages: without parameters. */
  shown: string;
}

export interface UriOptions {
  /** The socket for looking only. */
  readOnly?: boolean;
}

const defaultPorts = { tcp: 16_509, tls: 16_514, ssh: 22 } as const;

const knownParameters: Readonly<Record<string, readonly string[]>> = {
  unix: ['socket', 'name'],
  tcp: ['name'],
  tls: ['pkipath', 'no_verify', 'name'],
  ssh: ['socket', 'keyfile', 'known_hosts', 'passphrase-file', 'password-file', 'proxy', 'netcat', 'name'],
};

/** Ways to say SSH that differ in which library libvirt uses for it. */
const sshTransports = ['ssh', 'libssh', 'libssh2'];
const sshTimeoutMs = 30_000;

const pattern = /^([a-z]+)(?:\+([a-z0-9]+))?:\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/i;

/** Raises `usage` for what is no URI or names a parameter that is not known, `unsupported` for other transports. */
export function parseLibvirtUri(text: string, options: UriOptions = {}): LibvirtUri {
  const match = pattern.exec(text);
  if (!match) {
    throw new UserError(
      'usage',
      `"${text}" is no address of libvirt; write qemu:///system, qemu+ssh://user@host/system or qemu+tls://host/system`,
    );
  }
  const [, driver = '', transportText, authority = '', path = '/', query = ''] = match;
  const named = transportText?.toLowerCase() ?? (authority === '' ? 'unix' : 'tls');
  const transport = sshTransports.includes(named) ? 'ssh' : named;
  const place = { driver: driver.toLowerCase(), path, authority };
  const shown = `${driver}${transportText === undefined ? '' : `+${transportText}`}://${authority}${path}`;
  const known = knownParameters[transport];
  if (!known) {
    throw new UserError('unsupported', `"${shown}": the transport ${named} is not one that Prima has`);
  }
  const parameters = parseParameters(shown, query, known);
  const target = parseTarget(shown, transport, { ...place, parameters, readOnly: options.readOnly ?? false });
  return { target, name: parameters.get('name') ?? `${place.driver}://${path}`, shown };
}

interface Place {
  driver: string;
  path: string;
  authority: string;
  parameters: ReadonlyMap<string, string>;
  readOnly: boolean;
}

function parseTarget(shown: string, transport: string, place: Place): LibvirtTarget {
  if (transport === 'unix') {
    if (place.authority !== '') throw malformed(shown, 'a unix socket has no host; three slashes are wanted');
    return { transport, socketPaths: socketPaths(place), isUsual: !place.parameters.has('socket') };
  }
  const { user, host, port } = parseAuthority(shown, place.authority);
  if (transport === 'ssh') {
    return parseSsh(shown, place, {
      user: user ?? userInfo().username,
      host,
      port: port ?? defaultPorts.ssh,
    });
  }
  if (user !== undefined) throw malformed(shown, 'a user belongs to SSH only');
  if (transport === 'tcp') return { transport, host, port: port ?? defaultPorts.tcp };
  const pkiFolder = place.parameters.get('pkipath');
  const verify = !isSet(shown, place.parameters.get('no_verify'));
  return {
    transport: 'tls',
    host,
    port: port ?? defaultPorts.tls,
    verify,
    ...(pkiFolder !== undefined && { pkiFolder }),
  };
}

function parseSsh(shown: string, place: Place, who: { user: string; host: string; port: number }): SshTarget {
  const { parameters } = place;
  const file = (name: string) => parameters.get(name)?.replace(/^~(?=\/)/, homedir());
  const proxy = parameters.get('proxy') ?? 'auto';
  if (proxy !== 'auto' && proxy !== 'native' && proxy !== 'netcat') {
    throw malformed(shown, `proxy=${proxy} is none of auto, native, netcat`);
  }
  const [identityFile, knownHostsFile] = [file('keyfile'), file('known_hosts')];
  const [passphraseFile, passwordFile] = [file('passphrase-file'), file('password-file')];
  const isSession = place.path === '/session' && !parameters.has('socket');
  return {
    transport: 'ssh',
    server: {
      ...who,
      ...(identityFile !== undefined && { identityFile }),
      ...(knownHostsFile !== undefined && { knownHostsFile }),
      ...(passphraseFile !== undefined && { passphraseFile }),
      ...(passwordFile !== undefined && { passwordFile }),
      identityParameter: 'keyfile',
      timeoutMs: sshTimeoutMs,
      url: shown,
    },
    socketPaths: isSession ? [] : socketPaths(place),
    proxy,
    netcat: parameters.get('netcat') ?? 'nc',
  };
}

function isSet(shown: string, value: string | undefined): boolean {
  if (value === undefined || value === '0') return false;
  if (value === '1') return true;
  throw malformed(shown, `no_verify=${value} is neither 0 nor 1`);
}

/** Where a daemon listens: libvirtd, and where that is not there, the daemon of the driver alone. */
function socketPaths({ driver, path, parameters, readOnly }: Place): string[] {
  const socket = parameters.get('socket');
  if (socket !== undefined) return [socket];
  const isSession = path === '/session';
  const runtime = process.env['XDG_RUNTIME_DIR'];
  const folder = isSession ? join(runtime ?? join(homedir(), '.cache'), 'libvirt') : '/run/libvirt';
  // of a user's own daemons nobody needs to look only
  const suffix = readOnly && !isSession ? '-ro' : '';
  return ['libvirt', `virt${driver}d`].map((name) => join(folder, `${name}-sock${suffix}`));
}

function parseAuthority(shown: string, authority: string): { user?: string; host: string; port?: number } {
  const match = /^(?:([^@]*)@)?(\[[0-9a-fA-F:.]+\]|[^:[\]@]+)(?::(\d+))?$/.exec(authority);
  if (!match) throw malformed(shown, 'the host or port is not one');
  const [, user, host = '', portText] = match;
  if (user?.includes(':')) {
    throw malformed('the address', 'a password has no place in an address, where others can see it');
  }
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65_535))
    throw malformed(shown, `port ${port} is not within 1 to 65535`);
  return {
    host: decode(shown, host.replace(/^\[|\]$/g, '')),
    ...(user !== undefined && { user: decode(shown, user) }),
    ...(port !== undefined && { port }),
  };
}

function parseParameters(
  shown: string,
  query: string,
  known: readonly string[],
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const part of query.split('&').filter((text) => text !== '')) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    if (!known.includes(name)) {
      throw malformed(shown, `there is no parameter "${name}" here; known are ${known.join(', ')}`);
    }
    if (found.has(name)) throw malformed(shown, `${name}= is there twice`);
    found.set(name, decode(shown, at < 0 ? '' : part.slice(at + 1)));
  }
  return found;
}

function decode(shown: string, part: string): string {
  try {
    const text = decodeURIComponent(part);
    if (!text.includes('\0')) return text;
  } catch {
    // said below
  }
  throw malformed(shown, `"${part}" is not percent-encoded UTF-8`);
}

function malformed(shown: string, why: string): UserError {
  return new UserError('usage', `"${shown}" is no address of libvirt: ${why}`);
}
