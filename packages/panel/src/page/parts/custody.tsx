/** What is known of a point: how it was read, when it was verified, until when it is locked, where else it is, what it cost. */
import type { Answer } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { resource } from '../client.ts';
import { formatBytes, formatDuration, plural } from '../format.ts';
import { Figures, Loaded } from './page.tsx';
import { Time } from './time.tsx';

type Point = Answer<'getPoint'>;

interface CustodyProps {
  repository: string;
  point: string;
  /** Other repositories that have it, too. */
  copies: readonly string[];
}

export function Custody({ repository, point: id, copies }: CustodyProps) {
  const query = useQuery(resource('getPoint', { path: { repository, id } }));
  return (
    <Loaded query={query}>
      {(point) => (
        <div className="custody">
          <Figures
            of={[
              ['Taken', howTaken(point)],
              ['Verified', <Verified key="verified" repository={repository} point={id} />],
              ['Locked until', <Time key="locked" at={point.lockedUntil} none="not locked" />],
              ['Also in', copies.join(', ') || 'no other repository'],
              ['Read', formatBytes(point.read)],
              ['Added', formatBytes(point.added)],
              ['Stored', formatBytes(point.stored)],
              ['Took', formatDuration(Date.parse(point.finished) - Date.parse(point.time))],
            ]}
          />
          <Story of={point} />
        </div>
      )}
    </Loaded>
  );
}

function howTaken({ mode, quiesced, frozenMs, pausedMs, memory }: Point): string {
  return [
    mode,
    ...(mode === 'hot' ? [quiesced ? 'quiesced' : 'not quiesced'] : []),
    ...(memory ? [`with ${formatBytes(memory.size)} of memory`] : []),
    ...(frozenMs === undefined ? [] : [`guest frozen for ${formatDuration(frozenMs)}`]),
    ...(pausedMs === undefined ? [] : [`machine paused for ${formatDuration(pausedMs)}`]),
  ].join(', ');
}

/** Asked for by itself: it reads the point's pages and the ledger, which takes longer than the rest. */
function Verified({ repository, point: id }: Omit<CustodyProps, 'copies'>) {
  const query = useQuery({
    ...resource('getPoint', {
      path: { repository, id },
      query: { detail: 'verification' },
      timeoutMs: 120_000,
    }),
    staleTime: 60_000,
  });
  if (query.error) return <span className="tone-bad">{query.error.message}</span>;
  if (!query.data) return <span className="soft">looking…</span>;
  const { packs = 0, never = 0, missing = 0, oldest } = query.data.verification ?? {};
  if (missing > 0) return <span className="tone-bad">damaged: {plural(missing, 'piece')} missing</span>;
  if (oldest === undefined) return <span className="tone-warn">never; a check with all data does it</span>;
  return (
    <>
      <Time at={oldest} />
      {never > 0 && (
        <span className="tone-warn">
          , but {plural(never, 'pack')} of {packs} never
        </span>
      )}
    </>
  );
}

/** Fallbacks, choices and warnings: what was tried, why not, what was done instead. */
function Story({ of: { disks, skipped, warnings, notes } }: { of: Point }) {
  const full = disks.flatMap(({ name, whyFull }) =>
    whyFull === undefined ? [] : [`${name} was read in full: ${whyFull}`],
  );
  const missing = skipped.map(({ name, why }) => `${name} is not in this point: ${why}`);
  const grave = [...missing, ...warnings];
  return (
    <ul className="lines" style={{ marginTop: 10 }}>
      {grave.map((line) => (
        <li key={line} className="tone-warn">
          {line}
        </li>
      ))}
      {[...full, ...notes].map((line) => (
        <li key={line} className="soft">
          {line}
        </li>
      ))}
      {disks.map(({ name, changed, path }) => (
        <li key={name} className="soft">
          {name}: {changed === 'tracked' ? 'what change tracking named' : 'all of it'}
          {path === undefined ? '' : ` was read from ${path}`}
        </li>
      ))}
    </ul>
  );
}
