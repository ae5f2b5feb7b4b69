/** A short list, all of which is on the page. */
import type { Column } from './grid.tsx';

interface PlainTableProps<Row> {
  label: string;
  columns: readonly Omit<Column<Row>, 'width'>[];
  rows: readonly Row[];
  idOf: (row: Row) => string;
  /** It is a panel of its own. */
  isPanel?: boolean;
}

export function PlainTable<Row>({ label, columns, rows, idOf, isPanel = false }: PlainTableProps<Row>) {
  return (
    <div className={`scroll${isPanel ? ' panel' : ''}`} tabIndex={0} role="region" aria-label={label}>
      <table className="plain">
        <thead>
          <tr>
            {columns.map(({ head, isNumber }) => (
              <th key={head} className={isNumber ? 'number' : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={idOf(row)}>
              {columns.map(({ head, cell, isNumber }) => (
                <td key={head} className={isNumber ? 'number' : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
