/**
 * The recovery key as words for paper: 32 bytes as 24 words with a checksum (BIP 39, English list). The list is loaded by
 * who uses it, which is seldom.
 */
import { randomBytes } from 'node:crypto';
import { UserError } from '@prima/base';

const keyBytes = 32;
const recoveryWordCount = 24;
/** Words of the list differ within their first four letters. */
const tellingLetters = 4;

/** A new recovery key: 24 words, one space between them. */
export async function newRecoveryWords(): Promise<string> {
  const { entropyToMnemonic, wordlist } = await bip39();
  return entropyToMnemonic(randomBytes(keyBytes), wordlist);
}

/**
 * The 32 bytes that the words stand for. Case, spaces, line breaks, commas and numbers before the words do
 * not matter; a word may be cut after its fourth letter. Raises `usage`, which names a wrong word by its
 * position and never repeats it.
 */
export async function recoveryKeyOf(words: string): Promise<Uint8Array> {
  const { mnemonicToEntropy, wordlist } = await bip39();
  const typed = words
    .normalize('NFKD')
    .toLowerCase()
    .split(/[\s,;]+/)
    .map((token) => token.replace(/^\d+[.):]?/, ''))
    .filter((token) => token !== '');
  const known = typed.map((token, index) => wordFor(token, index + 1, wordlist));
  if (known.length !== recoveryWordCount) {
    throw new UserError('usage', `a recovery key has ${recoveryWordCount} words; ${known.length} were given`);
  }
  try {
    return mnemonicToEntropy(known.join(' '), wordlist);
  } catch (error) {
    throw new UserError(
      'usage',
      'these are words of the list, but not a recovery key: at least one is another word than on the paper, or stands in another place',
      { cause: error instanceof Error ? error.name : undefined },
    );
  }
}

function wordFor(token: string, position: number, wordlist: readonly string[]): string {
  if (wordlist.includes(token)) return token;
  const fits = token.length >= tellingLetters ? wordlist.filter((word) => word.startsWith(token)) : [];
  const [only] = fits;
  if (only !== undefined && fits.length === 1) return only;
  throw new UserError(
    'usage',
    `word ${position} of the recovery key is not in the list of words; compare it with the paper (four letters are enough)`,
    { details: { position } },
  );
}

async function bip39() {
  const [codec, { wordlist }] = await Promise.all([
    import('@scure/bip39'),
    import('@scure/bip39/wordlists/english.js'),
  ]);
  return { ...codec, wordlist };
}
