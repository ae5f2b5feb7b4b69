/** A page: its title, what it says at once, what can be done. */
import { useDocumentTitle } from '@mantine/hooks';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { Problem } from './problem.tsx';

interface PageProps {
  title: string;
  says?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

export function Page({ title, says, actions, children }: PageProps) {
  useDocumentTitle(`${title} – Prima`);
  return (
    <>
      <div className="head">
        <h1>{title}</h1>
        <div className="says">{says}</div>
        <div className="row-actions">{actions}</div>
      </div>
      {children}
    </>
  );
}

export function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** What a query answers, or that it is awaited, or why it has none. What was there stays while it is read anew. */
export function Loaded<T>({
  query,
  children,
}: {
  query: UseQueryResult<T>;
  children: (data: T) => ReactNode;
}) {
  if (query.data !== undefined)
    return (
      <>
        {query.error && <Problem error={query.error} retry={query.refetch} />}
        {children(query.data)}
      </>
    );
  if (query.error) return <Problem error={query.error} retry={query.refetch} />;
  return (
    <div className="wait" role="status">
      Reading…
    </div>
  );
}

/** Terms with their values. */
export function Figures({ of, large = false }: { of: [term: string, value: ReactNode][]; large?: boolean }) {
  return (
    <dl className="figures" style={{ margin: 0 }}>
      {of.map(([term, value]) => (
        <div key={term} className={large ? 'large' : undefined}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}
