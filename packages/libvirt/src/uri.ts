/**
 * libvirt's URIs (https://libvirt.org/uri.html): `driver[+transport]://[user@][host][:port]/path?parameter=value&…`.
 * Without a transport it is a unix socket of this machine, or TLS where a host is named.
 */
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '@prima/base';

/** Where the daemon is. Sockets are tried in their order. */
export type LibvirtTarget =
  | { transport: 'unix'; socketPaths: string[] }
  | { transport: 'tcp'; host: string; port: number };

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
};

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
  const transport = transportText?.toLowerCase() ?? (authority === '' ? 'unix' : 'tls');
  const place = { driver: driver.toLowerCase(), path, authority };
  const shown = `${driver}${transportText === undefined ? '' : `+${transportText}`}://${authority}${path}`;
  const known = knownParameters[transport];
  if (!known) {
    throw new UserError('unsupported', `"${shown}": the transport ${transport} is not one that Prima has`);
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
    return { transport, socketPaths: socketPaths(place) };
  }
  const { host, port } = parseAuthority(shown, place.authority);
  return { transport: 'tcp', host, port: port ?? defaultPorts.tcp };
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
