/** How long ago, with the exact time for whoever points at it or listens. */
import { useEffect, useState } from 'react';
import { formatExact, formatRelative } from '../format.ts';

const tickMs = 20_000;

export function Time({ at, none = '–' }: { at?: string | undefined; none?: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    setNow(Date.now()); // what has just happened is not in the future
    const timer = setInterval(() => setNow(Date.now()), tickMs);
    return () => clearInterval(timer);
  }, [at]);
  if (at === undefined) return <span className="soft">{none}</span>;
  return (
    <time dateTime={at} title={formatExact(at)}>
      {formatRelative(at, now)}
    </time>
  );
}
