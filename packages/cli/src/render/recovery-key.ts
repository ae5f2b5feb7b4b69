/** The words of a recovery key, to be written or printed on paper. */

const rows = 6;

/** Numbered columns, read downwards, and what to do with them. */
export function recoverySheet(words: readonly string[]): string {
  const cells = words.map((word, index) => `${String(index + 1).padStart(4)}. ${word.padEnd(8)}`);
  const lines = Array.from({ length: Math.min(rows, cells.length) }, (_, row) =>
    cells
      .filter((_cell, index) => index % rows === row)
      .join('  ')
      .trimEnd(),
  );
  return [
    'Recovery key. These words are shown now and never again, and are stored nowhere:',
    '',
    ...lines,
    '',
    'Write or print them on paper and keep it where neither fire nor thieves find it together with the backups.',
    'Whoever has the words can read everything. They open the repository with --recovery-file or --ask-recovery.',
  ].join('\n');
}
