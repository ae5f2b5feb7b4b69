/** Who we are, to the server: a private key, the agent, a password. Secrets come from files only. */
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Logger, systemErrorCode, toPrimaError, UserError } from '@prima/base';
import type { AnyAuthMethod, ParsedKey } from 'ssh2';
import type { SshLocation } from './location.ts';

/** ssh2's reader of private keys. */
export type KeyParser = (data: Buffer, passphrase?: string) => ParsedKey | Error;

export interface Credentials {
  /** In the order in which they are tried. */
  methods: AnyAuthMethod[];
  /** The same for messages. */
  tried: string[];
}

const defaultKeys = ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((name) => join(homedir(), '.ssh', name));

/**
 * What the address and the environment offer. Raises `not-found` and `permission` for files that cannot be read,
 * `usage` for a key that cannot be used, or when there is nothing to try.
 */
export async function loadCredentials(
  location: SshLocation,
  parse: KeyParser,
  logger: Logger,
): Promise<Credentials> {
  const { user: username, identityFile, passwordFile, passphraseFile } = location;
  const found: Credentials = { methods: [], tried: [] };
  const offer = (method: AnyAuthMethod, name: string) => {
    found.methods.push(method);
    found.tried.push(name);
  };
  const passphrase = passphraseFile === undefined ? undefined : await secretIn(passphraseFile, logger);
  if (identityFile !== undefined) {
    const key = await readKey(identityFile, parse, passphrase);
    offer({ type: 'publickey', username, key }, identityFile);
  }
  const agent = process.env['SSH_AUTH_SOCK'];
  if (identityFile === undefined && agent !== undefined && agent !== '') {
    offer({ type: 'agent', username, agent }, 'the agent');
  }
  if (identityFile === undefined && passwordFile === undefined) {
    for (const file of defaultKeys) {
      const key = await readDefaultKey(file, parse, passphrase);
      if (key) offer({ type: 'publickey', username, key }, file);
    }
  }
  if (passwordFile !== undefined) {
    const password = await secretIn(passwordFile, logger);
    offer({ type: 'password', username, password }, `the password in ${passwordFile}`);
    offer(
      {
        type: 'keyboard-interactive',
        username,
        prompt: (...asked) => {
          const [, , , prompts, finish] = asked;
          finish(prompts.map(() => password));
        },
      },
      'the same when asked for',
    );
  }
  if (found.methods.length > 0) return found;
  throw new UserError(
    'usage',
    `connecting to ${location.url}: there is nothing to log in with; add ?${location.identityParameter}=FILE with a private key to the ` +
      'address (or ?password-file=FILE), or start an agent that has one (SSH_AUTH_SOCK)',
  );
}

async function readKey(file: string, parse: KeyParser, passphrase: string | undefined): Promise<ParsedKey> {
  const data = await readFile(file).catch((error: unknown) => {
    throw toPrimaError(error, `reading the private key ${file}`);
  });
  const key = firstOf(parse(data, passphrase));
  if (key instanceof Error) {
    const advice =
      'if it has a passphrase, put that in a file and add &passphrase-file=FILE, or use an agent';
    throw new UserError('usage', `reading the private key ${file}: ${key.message}; ${advice}`, {
      cause: key,
    });
  }
  if (!key.isPrivateKey()) {
    throw new UserError('usage', `${file} is a public key; name the private one, without .pub`);
  }
  return key;
}

/** A key in its usual place is used when it is there and can be; ssh does the same. */
async function readDefaultKey(
  file: string,
  parse: KeyParser,
  passphrase: string | undefined,
): Promise<ParsedKey | undefined> {
  try {
    const key = firstOf(parse(await readFile(file), passphrase));
    return key instanceof Error || !key.isPrivateKey() ? undefined : key;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'ENOTDIR'].includes(systemErrorCode(error) ?? '')) return undefined;
    throw toPrimaError(error, `reading the private key ${file}`);
  }
}

/** ssh2 gives a list of one for some formats. */
function firstOf(parsed: ParsedKey | Error | (ParsedKey | Error)[]): ParsedKey | Error {
  return Array.isArray(parsed) ? (parsed[0] ?? new Error('there is no key in it')) : parsed;
}

async function secretIn(file: string, logger: Logger): Promise<string> {
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) logger.warn(`${file} holds a secret and can be read by others; chmod 600 it`);
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw toPrimaError(error, `reading the secret in ${file}`);
  }
}
