/** A long list: the server gives pages, the page draws the rows in sight. */
import { useInfiniteQuery } from '@tanstack/react-query';
import { useVirtualizer } from '@tanstack/react-virtual';
import { type ReactNode, useEffect, useRef } from 'react';
import { Problem } from './problem.tsx';

export interface Column<Row> {
  head: string;
  /** As CSS has it: `2fr`, `90px`. */
  width: string;
  cell: (row: Row) => ReactNode;
  isNumber?: boolean;
}

interface Pages<Row> {
  items: Row[];
  next?: string | undefined;
  total?: number | undefined;
}

interface GridProps<Row> {
  label: string;
  /** Of the query; another filter is another list. */
  queryKey: readonly [string, ...unknown[]];
  page: (cursor: string | undefined, signal: AbortSignal) => Promise<Pages<Row>>;
  columns: Column<Row>[];
  idOf: (row: Row) => string;
  empty: ReactNode;
  /** Milliseconds between looks at what is new. */
  refresh?: number;
}

const rowHeight = 38;

export function Grid<Row>({ label, queryKey, page, columns, idOf, empty, refresh }: GridProps<Row>) {
  const query = useInfiniteQuery({
    queryKey,
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam, signal }) => page(pageParam, signal),
    getNextPageParam: (last) => last.next,
    placeholderData: (before) => before,
    ...(refresh === undefined ? {} : { refetchInterval: refresh }),
  });
  const rows = query.data?.pages.flatMap(({ items }) => items) ?? [];
  const frame = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 12,
  });
  const drawn = virtual.getVirtualItems();
  const last = drawn.at(-1)?.index ?? 0;
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = query;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && last >= rows.length - 20) void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, fetchNextPage, last, rows.length]);

  const list = JSON.stringify(queryKey);
  useEffect(() => {
    frame.current?.scrollTo({ top: 0 });
  }, [list]);

  if (query.error && rows.length === 0) return <Problem error={query.error} retry={query.refetch} />;
  if (query.isPending)
    return (
      <div className="wait" role="status">
        Reading…
      </div>
    );
  if (rows.length === 0) return empty;
  const total = query.data?.pages[0]?.total;
  const style = {
    '--columns': columns.map(({ width }) => width).join(' '),
    '--least': `${columns.length * 105}px`,
  };
  return (
    <>
      {/* biome-ignore lint: a region that scrolls has to take the focus */}
      <div
        className="grid"
        ref={frame}
        role="table"
        aria-label={label}
        aria-rowcount={total ?? -1}
        tabIndex={0}
        style={style as React.CSSProperties}
      >
        <div role="rowgroup">
          <div role="row" className="heads">
            {columns.map(({ head, isNumber }) => (
              <div role="columnheader" key={head} className={isNumber ? 'number' : undefined}>
                {head}
              </div>
            ))}
          </div>
        </div>
        <div role="rowgroup" style={{ height: virtual.getTotalSize(), position: 'relative' }}>
          {drawn.map(({ index, start }) => {
            const row = rows[index];
            if (row === undefined) return null;
            return (
              <div
                role="row"
                key={idOf(row)}
                aria-rowindex={index + 2}
                style={{
                  position: 'absolute',
                  top: 0,
                  left: 0,
                  right: 0,
                  height: rowHeight,
                  transform: `translateY(${start}px)`,
                }}
              >
                {columns.map(({ head, cell, isNumber }) => (
                  <div role="cell" key={head} className={isNumber ? 'number' : undefined}>
                    {cell(row)}
                  </div>
                ))}
              </div>
            );
          })}
        </div>
      </div>
      <p className="soft" role="status" style={{ marginTop: 6, fontSize: 12 }}>
        {isFetchingNextPage
          ? 'Reading more…'
          : `${rows.length.toLocaleString('en')}${total === undefined ? (hasNextPage ? ' so far' : ' in all') : ` of ${total.toLocaleString('en')}`}`}
      </p>
    </>
  );
}
