/** Where secrets come from: a file, the environment, or the person at the terminal. */
import { open } from 'node:fs/promises';
import { type PrimaError, toPrimaError, UserError } from '@prima/base';
import type { Environment, Secret } from './environment.ts';

/** Far more than any passphrase or key file has. */
const secretBytesAtMost = 1024 * 1024;
const readableByOthers = 0o044;

export interface SecretRequest {
  /** What the secret is, for prompts and messages: "passphrase", "new passphrase". */
  what: string;
  passphraseFile?: string;
  keyFile?: string;
  /** The environment variable that may hold the passphrase itself. */
  variable: 'PRIMA_PASSPHRASE' | 'PRIMA_NEW_PASSPHRASE' | 'PRIMA_TO_PASSPHRASE';
  /** The options' names, for messages. */
  options: { passphraseFile: string; keyFile: string };
  /** Ask twice and compare: nothing exists yet that would tell a mistyped one. */
  confirm: boolean;
  warn: (message: string) => void;
  signal?: AbortSignal;
}

/** The secret, from the first of: key file, passphrase file, environment, terminal. Raises `usage`. */
export async function readSecret(request: SecretRequest, environment: Environment): Promise<Secret> {
  const { keyFile, passphraseFile, options, what } = request;
  if (keyFile !== undefined && passphraseFile !== undefined) {
    throw new UserError('usage', `give ${options.passphraseFile} or ${options.keyFile}, not both`);
  }
  if (keyFile !== undefined) return { kind: 'keyfile', bytes: await readSecretFile(keyFile, request.warn) };
  const text =
    passphraseFile === undefined
      ? (environment.env[request.variable] ?? (await ask(request, environment)))
      : (await readSecretFile(passphraseFile, request.warn)).toString().replace(/\r?\n$/, '');
  if (text === '') throw new UserError('usage', `the ${what} is empty`);
  return { kind: 'passphrase', text };
}

export interface RecoveryRequest {
  /** Holds the words. */
  file?: string;
  /** Ask on the terminal. */
  ask?: boolean;
  /** Whether PRIMA_RECOVERY counts. */
  fromEnvironment: boolean;
  warn: (message: string) => void;
  signal?: AbortSignal;
}

const recoveryWords = 24;

/** The words of a recovery key, as they were written; undefined where there are none. Raises `usage`. */
export async function readRecoveryKey(
  { file, ask: asks = false, fromEnvironment, warn, signal }: RecoveryRequest,
  environment: Environment,
): Promise<string | undefined> {
  if (file !== undefined) return (await readSecretFile(file, warn)).toString();
  if (asks) return await askWords(environment, signal);
  return fromEnvironment ? environment.env['PRIMA_RECOVERY'] || undefined : undefined;
}

/** Asks until there are enough words: several lines may be typed, with as many words on each as one likes. */
async function askWords({ askSecret }: Environment, signal?: AbortSignal): Promise<string> {
  if (askSecret === undefined)
    throw new UserError(
      'usage',
      'there is no terminal to ask on; give --recovery-file FILE or set PRIMA_RECOVERY',
    );
  let words: string[] = [];
  while (words.length < recoveryWords) {
    const next = words.length + 1;
    const line = await askSecret(`Recovery key, words ${next} to ${recoveryWords}: `, signal);
    const typed = line.split(/[\s,;]+/).filter((word) => word !== '' && !/^\d+[.):]?$/.test(word));
    if (typed.length === 0) throw new UserError('usage', 'no words were typed');
    words = [...words, ...typed];
  }
  return words.join(' ');
}

async function ask(request: SecretRequest, environment: Environment): Promise<string> {
  const { what, options, variable } = request;
  if (environment.askSecret === undefined) {
    throw new UserError(
      'usage',
      `no ${what}: give ${options.passphraseFile} FILE or ${options.keyFile} FILE or set ${variable} ` +
        '(there is no terminal to ask on)',
    );
  }
  const first = await environment.askSecret(`${what[0]?.toUpperCase()}${what.slice(1)}: `, request.signal);
  if (!request.confirm) return first;
  if ((await environment.askSecret('Once more: ', request.signal)) !== first) {
    throw new UserError('usage', 'the two passphrases differ; nothing was done');
  }
  return first;
}

/** The token in a file, without white space around it. Raises `usage` when it is empty. */
export async function readTokenFile(path: string, warn: (message: string) => void): Promise<string> {
  const token = (await readSecretFile(path, warn)).toString().trim();
  if (token === '') throw new UserError('usage', `the token in ${path} is empty`);
  return token;
}

/** Warns about a file that others can read. Works on pipes too (`--passphrase-file <(pass show backup)`). */
async function readSecretFile(path: string, warn: (message: string) => void): Promise<Buffer> {
  try {
    await using file = await open(path, 'r');
    const stats = await file.stat();
    if (stats.isFile() && (stats.mode & readableByOthers) !== 0) {
      warn(`${path} can be read by other users; chmod 600 ${path}`);
    }
    const pieces: Buffer[] = [];
    for (let total = 0; ; ) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(64 * 1024), 0, 64 * 1024, null);
      if (bytesRead === 0) return Buffer.concat(pieces);
      total += bytesRead;
      if (total > secretBytesAtMost) throw tooLarge(path);
      pieces.push(buffer.subarray(0, bytesRead));
    }
  } catch (error) {
    throw toPrimaError(error, `reading the secret in ${path}`);
  }
}

function tooLarge(path: string): PrimaError {
  return new UserError(
    'usage',
    `${path} has more than ${secretBytesAtMost} bytes: not a passphrase or key file`,
  );
}
