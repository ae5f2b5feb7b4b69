/** Tables that fit: the least important columns are shortened first, then left out; nothing wraps. */
import type { Page, Paint } from './style.ts';
import { displayWidth, pad, printable, shorten } from './width.ts';

export interface Column<Row> {
  title: string;
  value: (row: Row) => string;
  /** Numbers go to the right; they are never shortened (a cut number lies), only left out. */
  align?: 'left' | 'right';
  /** The lowest goes first when room is short. Default 5. */
  importance?: number;
  /** The fewest columns that a shortened text may have. Default 8. */
  minWidth?: number;
  paint?: (paint: Paint, text: string, row: Row) => string;
}

const gap = 2;

/** The table as lines without a newline at the end; columns that are empty in every row are left out. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], page: Page): string {
  const cells = new Map(columns.map((column) => [column, rows.map((row) => printable(column.value(row)))]));
  const filled = columns.filter((column) => cells.get(column)?.some((cell) => cell !== ''));
  const natural = new Map(
    filled.map((column) => [
      column,
      Math.max(displayWidth(column.title), ...(cells.get(column) ?? []).map(displayWidth)),
    ]),
  );
  const widths = fit(natural, page.width);
  const shown = [...widths.entries()];
  const line = (
    content: (column: Column<Row>) => string,
    dress: (column: Column<Row>, text: string) => string,
  ) =>
    shown
      .map(([column, width], index) => {
        const text = shorten(content(column), width);
        const padded =
          index === shown.length - 1 && column.align !== 'right' ? text : pad(text, width, column.align);
        return dress(column, padded);
      })
      .join(' '.repeat(gap))
      .trimEnd();
  const head = line(
    (column) => column.title,
    (_, text) => page.paint('bold', text),
  );
  const body = rows.map((row, index) =>
    line(
      (column) => cells.get(column)?.[index] ?? '',
      (column, text) => column.paint?.(page.paint, text, row) ?? text,
    ),
  );
  return [head, ...body].join('\n');
}

/** The width of each column that stays, so that all fit into `available`. */
function fit<Row>(natural: ReadonlyMap<Column<Row>, number>, available: number): Map<Column<Row>, number> {
  const widths = new Map(natural);
  const expendable = [...natural.keys()].sort((a, b) => (a.importance ?? 5) - (b.importance ?? 5));
  const excess = () =>
    [...widths.values()].reduce((sum, width) => sum + width, gap * (widths.size - 1)) - available;
  for (;;) {
    for (const column of expendable) {
      const width = widths.get(column) ?? 0;
      const fewest = column.align === 'right' ? width : Math.min(width, column.minWidth ?? 8);
      widths.set(column, Math.max(fewest, width - Math.max(0, excess())));
    }
    if (excess() <= 0) return widths;
    const first = expendable.shift();
    if (first === undefined || expendable.length === 0) return widths;
    widths.delete(first);
    for (const column of expendable) widths.set(column, natural.get(column) ?? 0);
  }
}

/** `label  value` lines with the labels aligned; entries without a value are left out. */
export function facts(entries: readonly (readonly [string, string | undefined])[], page: Page): string {
  const given = entries.filter(
    (entry): entry is readonly [string, string] => entry[1] !== undefined && entry[1] !== '',
  );
  const width = Math.max(0, ...given.map(([label]) => displayWidth(label)));
  return given
    .map(([label, value]) => `${page.paint('dim', pad(label, width))}  ${printable(value)}`)
    .join('\n');
}

/** Every line of `text` moved to the right. */
export function indent(text: string, columns = 2): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(columns));
}
