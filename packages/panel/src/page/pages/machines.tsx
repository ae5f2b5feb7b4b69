import type { MachineRow, Protection } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { call, resource } from '../client.ts';
import { formatBytes } from '../format.ts';
import { Empty } from '../parts/empty.tsx';
import { useFilters } from '../parts/filters.tsx';
import { type Column, Grid } from '../parts/grid.tsx';
import { Page } from '../parts/page.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

const columns: Column<MachineRow>[] = [
  {
    head: 'Machine',
    width: 'minmax(160px, 2fr)',
    cell: ({ host, name }) => (
      <Link to="/machines/$host/$machine" params={{ host, machine: name }}>
        {name}
      </Link>
    ),
  },
  { head: 'Host', width: 'minmax(90px, 1fr)', cell: ({ host }) => host },
  { head: 'Protection', width: '110px', cell: ({ protection }) => <State is={protection} /> },
  { head: 'Last point', width: '120px', cell: ({ lastPoint }) => <Time at={lastPoint} none="never" /> },
  { head: 'Power', width: '90px', cell: ({ state, isGone }) => (isGone ? 'gone' : state) },
  { head: 'Disks', width: '90px', isNumber: true, cell: ({ diskBytes }) => formatBytes(diskBytes) },
  { head: 'Points', width: '70px', isNumber: true, cell: ({ points }) => points },
  { head: 'Policies', width: 'minmax(90px, 1fr)', cell: ({ policies }) => policies.join(', ') || '–' },
];

const protections: Protection[] = ['protected', 'late', 'failed', 'unprotected'];

export function MachinesPage() {
  const hosts = useQuery(resource('listHosts'));
  const { query: chosen, filters } = useFilters([
    { key: 'host', label: 'Host', of: (hosts.data?.items ?? []).map(({ name }) => name) },
    { key: 'protection', label: 'Protection', of: protections },
  ]);
  const query = chosen as typeof chosen & { protection?: Protection };
  const isFiltered = Object.keys(query).length > 0;
  return (
    <Page title="Machines">
      {filters}
      <Grid
        label="Machines"
        queryKey={['listMachines', query]}
        page={(cursor, signal) =>
          call('listMachines', { query: { ...query, ...(cursor ? { cursor } : {}) }, signal })
        }
        columns={columns}
        idOf={({ id }) => id}
        refresh={30_000}
        empty={
          isFiltered ? (
            <Empty title="No machine is like that">Change the search or the filters.</Empty>
          ) : (
            <Empty title="There are no machines yet">
              <span>
                <Link to="/hosts">Add a host</Link>; its machines appear here by themselves.
              </span>
            </Empty>
          )
        }
      />
    </Page>
  );
}
