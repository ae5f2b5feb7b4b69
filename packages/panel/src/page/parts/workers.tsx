/** The processes that do jobs at hosts of their own, where there are any. */
import type { Worker } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { call, changed, resource, useMay } from '../client.ts';
import { Action } from './action.tsx';
import { Section } from './page.tsx';
import { PlainTable } from './plain-table.tsx';
import { Time } from './time.tsx';

const columns = [
  { head: 'Name', cell: ({ name }: Worker) => name },
  {
    head: 'State',
    cell: ({ state }: Worker) =>
      state === 'here' ? <span className="tone-good">here</span> : <span className="tone-bad">gone</span>,
  },
  { head: 'Seen', cell: ({ seen }: Worker) => <Time at={seen} /> },
  { head: 'Computer', cell: ({ hostname }: Worker) => hostname },
  { head: 'Hosts', cell: ({ hosts }: Worker) => hosts.join(', ') || 'none' },
  { head: 'Jobs', cell: ({ running, atOnce }: Worker) => `${running} of ${atOnce}` },
  { head: 'Version', cell: ({ version }: Worker) => version },
];

const removal = { head: 'Action', cell: (worker: Worker) => <Remove worker={worker} /> };

export function Workers() {
  const { data } = useQuery({ ...resource('listWorkers'), refetchInterval: 30_000 });
  const may = useMay('implementer');
  if (!data || data.items.length === 0) return null;
  return (
    <Section title="Workers">
      <PlainTable
        label="Workers"
        columns={may ? [...columns, removal] : columns}
        rows={data.items}
        idOf={({ id }) => id}
      />
    </Section>
  );
}

function Remove({ worker: { id, name } }: { worker: Worker }) {
  return (
    <Action
      confirm={`The worker ${name} ends, and its hosts are forgotten; revoke its token as well, or it comes back when it is started.`}
      run={async () => {
        await call('removeWorker', { path: { id } });
        await changed('listWorkers', 'listHosts', 'listMachines', 'getOverview');
      }}
    >
      Remove
    </Action>
  );
}
