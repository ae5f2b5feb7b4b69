/**
 * A command line as text → its words, as a POSIX shell splits them; enough for scripts and service files that start QEMU.
 * What a shell would have to know more for (variables, commands, patterns, redirections) is refused, not guessed.
 */
import { FormatError } from '@prima/base';

const limitCharacters = 1024 * 1024;

/** Raises `format`. Comments and line ends with a backslash before them are left out. */
export function splitCommand(text: string): string[] {
  if (text.length > limitCharacters) {
    throw new FormatError(
      `a command line of ${text.length} characters where at most ${limitCharacters} were expected`,
    );
  }
  const words: string[] = [];
  let word: string | undefined;
  let at = 0;
  while (at < text.length) {
    const [piece, kind] = nextPiece(text, at, word === undefined);
    at += piece.length;
    if (kind === 'space') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (kind !== 'comment') word = (word ?? '') + unquote(piece, kind);
  }
  if (word !== undefined) words.push(word);
  return words;
}

type Kind = 'space' | 'comment' | 'single' | 'double' | 'escaped' | 'plain';

const pieces: readonly [RegExp, Kind][] = [
  [/(?:[ \t\r\n]|\\\r?\n)+/y, 'space'],
  [/#[^\n]*/y, 'comment'],
  [/'[^']*'/y, 'single'],
  [/"(?:[^"\\$`]|\\[^])*"/y, 'double'],
  [/\\[^]/y, 'escaped'],
  [/[^\s'"\\$`#|&;<>()*?[\]{}~!]+/y, 'plain'],
  // Braces and the like mean something to a shell only in combinations that QEMU's options do not have.
  [/[#{}[\]~!]/y, 'plain'],
];

function nextPiece(text: string, at: number, isBetween: boolean): [piece: string, kind: Kind] {
  for (const [pattern, kind] of pieces) {
    if (kind === 'comment' && !isBetween) continue;
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) return [found, kind];
  }
  const found = text.slice(at, at + 20);
  throw new FormatError(
    `a command line: ${JSON.stringify(found)} at character ${at + 1} needs a shell to know what it means; ` +
      'write it out, or quote it',
    { details: { offset: at } },
  );
}

function unquote(piece: string, kind: Kind): string {
  if (kind === 'single') return piece.slice(1, -1);
  if (kind === 'double') return piece.slice(1, -1).replaceAll(/\\(["\\$`])|\\\n/g, '$1');
  return kind === 'escaped' ? piece.slice(1) : piece;
}

/** Words → a command line that a shell splits into them again. */
export function joinCommand(words: readonly string[]): string {
  return words
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`))
    .join(' ');
}
