/** Two texts compared line by line, by their longest common subsequence. Pure. */

export interface DiffLine {
  /** `gap`: lines that are the same were left out here. */
  kind: 'same' | 'removed' | 'added' | 'gap';
  text: string;
}

/** Lines around each change that are shown. */
const contextLines = 2;
/** Pairs of lines that are looked at; texts beyond that are shown one after the other. */
const mostPairs = 4_000_000;

/** What changes from `a` to `b`, with a little of what is around it; empty where they are the same. */
export function diffLines(a: readonly string[], b: readonly string[]): DiffLine[] {
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const same = (lines: readonly string[]): DiffLine[] => lines.map((text) => ({ kind: 'same', text }));
  const all = [
    ...same(a.slice(0, start)),
    ...between(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...same(a.slice(a.length - end)),
  ];
  return withGaps(all);
}

function between(a: readonly string[], b: readonly string[]): DiffLine[] {
  const lines: DiffLine[] = [];
  const removed = (text = '') => void lines.push({ kind: 'removed', text });
  const added = (text = '') => void lines.push({ kind: 'added', text });
  if (a.length * b.length > mostPairs) {
    for (const text of a) removed(text);
    for (const text of b) added(text);
    return lines;
  }
  const longest = commonLengths(a, b);
  const width = b.length + 1;
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ kind: 'same', text: a[i] ?? '' });
      i += 1;
      j += 1;
    } else if ((longest[(i + 1) * width + j] ?? 0) >= (longest[i * width + j + 1] ?? 0)) {
      removed(a[i]);
      i += 1;
    } else {
      added(b[j]);
      j += 1;
    }
  }
  for (; i < a.length; i += 1) removed(a[i]);
  for (; j < b.length; j += 1) added(b[j]);
  return lines;
}

/** At `i * (b.length + 1) + j`: how many lines the rests of `a` from `i` and of `b` from `j` have in common. */
function commonLengths(a: readonly string[], b: readonly string[]): Uint32Array {
  const width = b.length + 1;
  const lengths = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number) => lengths[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const without = Math.max(at(i + 1, j), at(i, j + 1));
      lengths[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : without;
    }
  }
  return lengths;
}

function withGaps(lines: readonly DiffLine[]): DiffLine[] {
  const isNear = (index: number) =>
    lines
      .slice(Math.max(0, index - contextLines), index + contextLines + 1)
      .some(({ kind }) => kind !== 'same');
  const shown: DiffLine[] = [];
  for (const [index, line] of lines.entries()) {
    if (isNear(index)) shown.push(line);
    else if (shown.at(-1)?.kind !== 'gap') shown.push({ kind: 'gap', text: '' });
  }
  return shown.every(({ kind }) => kind === 'gap') ? [] : shown;
}
