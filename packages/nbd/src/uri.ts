/**
 * NBD URIs (https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md):
 * `nbd://host[:port]/export`, `nbds://…` (TLS), `nbd+unix:///export?socket=/path`, `nbds+unix:///…`.
 */
import { UserError } from '@prima/base';
import { limits } from './protocol.ts';
import type { NbdTarget } from './wire.ts';

export const defaultNbdPort = 10_809;

export interface NbdUri {
  target: NbdTarget;
  exportName: string;
  tls: boolean;
}

const uriPattern = /^(nbds?)(\+unix)?:\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/i;

/** Raises `usage` for anything that is not an NBD URI as the specification has it. */
export function parseNbdUri(text: string): NbdUri {
  const match = uriPattern.exec(text);
  if (!match) {
    throw malformed(text, 'write nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH');
  }
  const [, scheme = '', unix, authority = '', path = '', query = ''] = match;
  const exportName = decode(text, path);
  checkExportName(exportName);
  const tls = scheme.toLowerCase() === 'nbds';
  const socketPath = socketOf(text, query);
  if (unix === undefined) {
    if (socketPath !== undefined) throw malformed(text, 'socket= belongs to nbd+unix:// only');
    return { target: parseAuthority(text, authority), exportName, tls };
  }
  if (authority !== '') throw malformed(text, 'nbd+unix:// has no host; three slashes are wanted');
  if (socketPath === undefined || socketPath === '') throw malformed(text, 'socket=PATH is missing');
  return { target: { socketPath }, exportName, tls };
}

/** The inverse of `parseNbdUri`. */
export function writeNbdUri({ target, exportName, tls }: NbdUri): string {
  const scheme = tls ? 'nbds' : 'nbd';
  const name = exportName.split('/').map(encodeURIComponent).join('/');
  if ('socketPath' in target) {
    return `${scheme}+unix:///${name}?socket=${encodeURIComponent(target.socketPath).replaceAll('%2F', '/')}`;
  }
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  const port = target.port === defaultNbdPort ? '' : `:${target.port}`;
  return `${scheme}://${host}${port}/${name}`;
}

/** Raises `usage` for a name that the protocol cannot carry. */
export function checkExportName(name: string): void {
  if (Buffer.byteLength(name) > limits.stringBytes || name.includes('\0')) {
    throw new UserError('usage', 'an NBD export name has at most 4096 bytes and no NUL');
  }
}

function parseAuthority(text: string, authority: string): NbdTarget {
  const match = /^(?:([^@]*)@)?(\[[0-9a-fA-F:.]+\]|[^:[\]]*)(?::(\d*))?$/.exec(authority);
  if (!match) throw malformed(text, 'the host or port is not one');
  const [, user, host = '', port = ''] = match;
  if (user !== undefined)
    throw malformed(text, 'user names are for TLS with shared keys, which Prima has not');
  const number = port === '' ? defaultNbdPort : Number(port);
  if (number < 1 || number > 65_535) throw malformed(text, `port ${port} is not within 1 to 65535`);
  const name = decode(text, host.replace(/^\[|\]$/g, ''));
  return { host: name === '' ? 'localhost' : name, port: number };
}

function socketOf(text: string, query: string): string | undefined {
  let found: string | undefined;
  for (const part of query.split('&')) {
    if (part === '') continue;
    const at = part.indexOf('=');
    const key = at < 0 ? part : part.slice(0, at);
    if (key !== 'socket') throw malformed(text, `"${key}" is not a parameter that Prima knows`);
    if (found !== undefined) throw malformed(text, 'socket= is there twice');
    found = decode(text, at < 0 ? '' : part.slice(at + 1));
  }
  return found;
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw malformed(text, `"${part}" is not percent-encoded UTF-8`);
  }
}

function malformed(text: string, why: string): UserError {
  return new UserError('usage', `"${text}" is not an NBD URI: ${why}`);
}
