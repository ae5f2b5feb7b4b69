/** Is the server that answers the one that is meant? Asked of the known_hosts files before anything is sent. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { systemErrorCode, toPrimaError, UserError } from '@prima/base';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import { fingerprint, judgeHostKey, keysForHost, keyType, type KnownKey } from './known-hosts.ts';
import type { SshLocation } from './location.ts';

const defaultFiles = [join(homedir(), '.ssh/known_hosts'), '/etc/ssh/ssh_known_hosts'];

const algorithms: readonly (readonly [string, readonly ServerHostKeyAlgorithm[]])[] = [
  ['ssh-ed25519', ['ssh-ed25519']],
  ['ecdsa-sha2-nistp256', ['ecdsa-sha2-nistp256']],
  ['ecdsa-sha2-nistp384', ['ecdsa-sha2-nistp384']],
  ['ecdsa-sha2-nistp521', ['ecdsa-sha2-nistp521']],
  ['ssh-rsa', ['rsa-sha2-512', 'rsa-sha2-256']],
];

export class HostKeyCheck {
  readonly #location: SshLocation;
  readonly #known: readonly KnownKey[];
  readonly #files: readonly string[];

  private constructor(location: SshLocation, known: readonly KnownKey[], files: readonly string[]) {
    this.#location = location;
    this.#known = known;
    this.#files = files;
  }

  /** Reads the known_hosts files. Raises `not-found` where one that the address names is not there. */
  static async load(location: SshLocation): Promise<HostKeyCheck> {
    const { knownHostsFile, host, port } = location;
    const files = knownHostsFile === undefined ? defaultFiles : [knownHostsFile];
    const known: KnownKey[] = [];
    for (const file of files) {
      try {
        known.push(...keysForHost(await readFile(file, 'utf8'), host, port));
      } catch (error) {
        const absent = systemErrorCode(error) === 'ENOENT' && knownHostsFile === undefined;
        if (!absent) throw toPrimaError(error, `reading known host keys from ${file}`);
      }
    }
    return new HostKeyCheck(location, known, files);
  }

  /** What to ask the server to prove itself with: the kinds of key that are known of it come first, as in ssh. */
  preferredAlgorithms(): ServerHostKeyAlgorithm[] {
    const isKnown = (type: string) => this.#known.some((key) => key.type === type && !key.revoked);
    const first = algorithms.filter(([type]) => isKnown(type));
    const rest = algorithms.filter(([type]) => !isKnown(type));
    return [...first, ...rest].flatMap(([, names]) => names);
  }

  /** The error for a key that is not to be trusted, or undefined when it is the known one. */
  refusal(shown: Buffer): UserError | undefined {
    const judgement = judgeHostKey(shown, this.#known);
    if (judgement === 'known') return undefined;
    const { host, port, url } = this.#location;
    const [file = ''] = this.#files;
    const key = `${keyType(shown)} ${fingerprint(shown)}`;
    const name = port === 22 ? host : `'[${host}]:${port}'`;
    const details = { fingerprint: fingerprint(shown), judgement };
    const text = {
      unknown:
        `connecting to ${url}: the server shows the key ${key}, and ${this.#files.join(' and ')} know no key of it. ` +
        'Compare the fingerprint with what "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" says on the server; ' +
        `if it is the same, add it: ssh-keyscan -p ${port} ${host} >> ${file}`,
      changed:
        `connecting to ${url}: THE SERVER'S KEY IS NOT THE KNOWN ONE. It shows ${key}; known are ` +
        `${this.#known.map(({ type, key: old }) => `${type} ${fingerprint(old)}`).join(', ')} (${this.#files.join(', ')}). ` +
        'Somebody may be in between, or the server was installed anew: ask who runs it. If the new key is right, ' +
        `remove the old one: ssh-keygen -f ${file} -R ${name}, and add the new one`,
      revoked: `connecting to ${url}: the server shows the key ${key}, which is marked as revoked in ${file}`,
    }[judgement];
    return new UserError('refused', text, { details });
  }
}
