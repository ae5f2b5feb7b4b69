/**
 * Files of host keys as OpenSSH keeps them (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): a line is
 * `[@marker] hosts keytype base64 [comment]`; `hosts` is a list of patterns (`*`, `?`, `!`), or one name hashed as
 * `|1|salt|HMAC-SHA-1`; a port other than 22 is part of the name: `[host]:2222`. Certificates are not supported.
 */
import { createHash, createHmac } from 'node:crypto';

/** A line that is about the host in question. */
export interface KnownKey {
  /** `ssh-ed25519`, `ssh-rsa` … */
  type: string;
  key: Buffer;
  revoked: boolean;
}

/** The keys that `text` has for the host, in the order of the file. Lines that are none of the format's are skipped. */
export function keysForHost(text: string, host: string, port: number): KnownKey[] {
  const name = port === 22 ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`;
  const keys: KnownKey[] = [];
  for (const line of text.split('\n')) {
    const fields = line.trim().split(/\s+/);
    const marker = line.trimStart().startsWith('@') ? fields.shift() : undefined;
    const [hosts = '', type = '', base64 = ''] = fields;
    if (hosts.startsWith('#') || base64 === '') continue;
    if ((marker === undefined || marker === '@revoked') && matchesHost(hosts, name)) {
      keys.push({ type, key: Buffer.from(base64, 'base64'), revoked: marker === '@revoked' });
    }
  }
  return keys;
}

/** What the known keys say of the key that a server has shown. */
export function judgeHostKey(
  shown: Buffer,
  known: readonly KnownKey[],
): 'known' | 'unknown' | 'changed' | 'revoked' {
  const same = known.filter(({ key }) => key.equals(shown));
  if (same.some(({ revoked }) => revoked)) return 'revoked';
  if (same.length > 0) return 'known';
  return known.some(({ revoked }) => !revoked) ? 'changed' : 'unknown';
}

/** `SHA256:…` as ssh-keygen -l shows it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type that a public key names at its beginning (RFC 4253, 6.6). */
export function keyType(key: Buffer): string {
  const length = key.length >= 4 ? key.readUInt32BE(0) : 0;
  return key.toString('latin1', 4, 4 + Math.min(length, 64));
}

function matchesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return matchesHash(hosts, name);
  let matched = false;
  for (const pattern of hosts.toLowerCase().split(',')) {
    const negated = pattern.startsWith('!');
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    matched = true;
  }
  return matched;
}

function matchesHash(hashed: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = hashed.split('|');
  if (version !== '1') return false;
  const own = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return own.equals(Buffer.from(hash, 'base64'));
}

/** `*` and `?` as in the shell, in time proportional to both lengths' product whatever the pattern. */
function matchesPattern(pattern: string, name: string): boolean {
  let [p, n, star, resume] = [0, 0, -1, 0];
  while (n < name.length) {
    if (p < pattern.length && (pattern[p] === '?' || (pattern[p] === name[n] && pattern[p] !== '*'))) {
      p += 1;
      n += 1;
    } else if (pattern[p] === '*') {
      star = p;
      resume = n;
      p += 1;
    } else if (star >= 0) {
      p = star + 1;
      resume += 1;
      n = resume;
    } else return false;
  }
  while (pattern[p] === '*') p += 1;
  return p === pattern.length;
}
