/** The benchmark's table: what was measured, beside whom, and whether it is what we want to hold. */

export interface Row {
  item: string;
  /** Prima's figure, for people. */
  prima: string;
  /** Whom it is compared with, and that one's figure. */
  peer?: string;
  peerFigure?: string;
  /** Prima's figure in the terms of `wanted`. */
  value?: number;
  /** What is to be held: at least or at most. */
  wanted?: { atLeast: number } | { atMost: number };
  /** Of `value` and `wanted`: `×`, `s`, `MiB`. */
  unit?: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}

/** Undefined where nothing is wanted. */
export function isHeld({ value, wanted }: Row): boolean | undefined {
  if (!wanted || value === undefined) return undefined;
  return 'atLeast' in wanted ? value >= wanted.atLeast : value <= wanted.atMost;
}

/** A table in Markdown, with its columns aligned. */
export function renderRows(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const { item, prima, peer = '', peerFigure = '', value, wanted, unit = '' } = row;
    const held = isHeld(row);
    return [
      item,
      prima,
      peer,
      peerFigure,
      value === undefined ? '' : `${round(value)} ${unit}`,
      wanted ? ('atLeast' in wanted ? `≥ ${wanted.atLeast} ${unit}` : `≤ ${wanted.atMost} ${unit}`) : '',
      held === undefined ? '' : held ? 'yes' : 'no',
    ];
  });
  return renderTable(['Measured', 'Prima', 'Peer', "Peer's", 'Result', 'Wanted', 'Held'], lines);
}

export function renderTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]?.length ?? 0)));
  const draw = (cells: readonly string[]) =>
    `| ${widths.map((width, i) => (cells[i] ?? '').padEnd(width)).join(' | ')} |`;
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`;
  return [draw(head), rule, ...lines.map(draw)].join('\n');
}

function round(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
