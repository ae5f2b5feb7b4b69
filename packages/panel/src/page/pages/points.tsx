import type { PointRow } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { call, resource } from '../client.ts';
import { formatBytes } from '../format.ts';
import { Empty } from '../parts/empty.tsx';
import { useFilters } from '../parts/filters.tsx';
import { type Column, Grid } from '../parts/grid.tsx';
import { Page } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';

const columns: Column<PointRow>[] = [
  {
    head: 'Machine',
    width: 'minmax(150px, 2fr)',
    cell: ({ host, machine }) =>
      host === undefined ? (
        machine
      ) : (
        <Link to="/machines/$host/$machine" params={{ host, machine }}>
          {host}/{machine}
        </Link>
      ),
  },
  {
    head: 'Time',
    width: '120px',
    cell: ({ repository, id, time }) => (
      <Link to="/points/$repository/$point" params={{ repository, point: id }}>
        <Time at={time} />
      </Link>
    ),
  },
  { head: 'Mode', width: '60px', cell: ({ mode }) => mode },
  { head: 'Repository', width: 'minmax(80px, 1fr)', cell: ({ repository }) => repository },
  { head: 'Size', width: '85px', isNumber: true, cell: ({ size }) => formatBytes(size) },
  { head: 'Read', width: '85px', isNumber: true, cell: ({ read }) => formatBytes(read) },
  { head: 'Stored', width: '85px', isNumber: true, cell: ({ stored }) => formatBytes(stored) },
  {
    head: 'Warnings',
    width: '80px',
    isNumber: true,
    cell: ({ warnings }) => (warnings > 0 ? <span className="tone-warn">{warnings}</span> : '–'),
  },
  { head: 'Locked', width: '110px', cell: ({ lockedUntil }) => <Time at={lockedUntil} /> },
];

export function PointsPage() {
  const repositories = useQuery(resource('listRepositories'));
  const hosts = useQuery(resource('listHosts'));
  const { query, filters } = useFilters([
    { key: 'repository', label: 'Repository', of: (repositories.data?.items ?? []).map(({ name }) => name) },
    { key: 'host', label: 'Host', of: (hosts.data?.items ?? []).map(({ name }) => name) },
  ]);
  return (
    <Page title="Points">
      {filters}
      <Grid
        label="Points"
        queryKey={['listPoints', query]}
        page={(cursor, signal) =>
          call('listPoints', { query: { ...query, ...(cursor ? { cursor } : {}) }, signal })
        }
        columns={columns}
        idOf={(point) => `${point.repository} ${point.id}`}
        empty={
          <Empty title={Object.keys(query).length > 0 ? 'No point is like that' : 'There are no points yet'}>
            <span>
              Run a <Link to="/policies">policy</Link>, or back a <Link to="/machines">machine</Link> up.
            </span>
          </Empty>
        }
      />
    </Page>
  );
}
