import type { Answer } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { resource, runOperation, useMay } from '../client.ts';
import { formatBytes } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { BackUpNow } from '../parts/back-up-now.tsx';
import { MachineTags } from '../parts/machine-tags.tsx';
import { MachinePoints } from '../parts/machine-points.tsx';
import { Figures, Loaded, Page, Section } from '../parts/page.tsx';
import { PlainTable } from '../parts/plain-table.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

type Machine = Answer<'getMachine'>;
type Disk = Machine['diskList'][number];

export function MachinePage() {
  const { host, machine: name } = useParams({ from: '/shell/machines/$host/$machine' });
  const query = useQuery({
    ...resource('getMachine', { path: { host, id: name } }),
    refetchInterval: 15_000,
  });
  const points = useQuery(resource('listPoints', { query: { host, machine: name, limit: 500 } }));
  const jobs = useQuery({
    ...resource('listJobs', { query: { machine: `${host}/${name}`, limit: 10 } }),
    refetchInterval: 10_000,
  });
  return (
    <Page
      title={name}
      says={query.data && <State is={query.data.protection} />}
      actions={query.data && <Actions machine={query.data} />}
    >
      <Loaded query={query}>{(machine) => <Facts machine={machine} />}</Loaded>
      <Section title="Restore points">
        <Loaded query={points}>
          {({ items }) => <MachinePoints of={items} machine={`${host}/${name}`} />}
        </Loaded>
      </Section>
      <div className="columns">
        <Loaded query={query}>{(machine) => <Disks of={machine} />}</Loaded>
        <Section title="Last jobs">
          <Loaded query={jobs}>
            {({ items }) =>
              items.length === 0 ? (
                <p className="soft">None yet.</p>
              ) : (
                items.map((job) => (
                  <div key={job.id}>
                    <State is={job.state} />{' '}
                    <Link to="/jobs/$id" params={{ id: job.id }}>
                      {job.summary}
                    </Link>{' '}
                    <span className="soft">
                      <Time at={job.created} />
                    </span>
                  </div>
                ))
              )
            }
          </Loaded>
        </Section>
      </div>
    </Page>
  );
}

function Facts({ machine }: { machine: Machine }) {
  return (
    <>
      {machine.lastError && (
        <div className="problem">
          <strong className="tone-bad">The last backup failed: {machine.lastError.message}</strong>
        </div>
      )}
      <Section title="Facts">
        <Figures
          of={[
            ['Power', machine.isGone ? 'gone from its host' : machine.state],
            ['Host', machine.host],
            ['Last point', <Time at={machine.lastPoint} none="never" />],
            ['Promised', machine.promiseHours === undefined ? '–' : `every ${machine.promiseHours} h`],
            ['Policies', machine.policies.join(', ') || 'none'],
            ['Tags', <MachineTags of={machine} />],
            ['Processors', machine.cpus],
            ['Memory', formatBytes(machine.memoryBytes)],
            ['Guest agent', machine.agent],
            ['Seen', <Time at={machine.seen} />],
          ]}
        />
        {machine.notes.map((note) => (
          <p key={note} className="soft">
            {note}
          </p>
        ))}
      </Section>
    </>
  );
}

const diskColumns = [
  { head: 'Disk', cell: ({ name }: Disk) => name },
  { head: 'Format', cell: ({ format }: Disk) => format },
  { head: 'Size', isNumber: true, cell: ({ size }: Disk) => formatBytes(size) },
  {
    head: 'Where',
    cell: ({ path, excluded }: Disk) => (
      <div className="mono">
        {path}
        {excluded && <div className="tone-warn">not backed up: {excluded}</div>}
      </div>
    ),
  },
];

function Disks({ of: { diskList } }: { of: Machine }) {
  return (
    <Section title="Disks">
      <PlainTable label="Disks" columns={diskColumns} rows={diskList} idOf={({ name }) => name} />
    </Section>
  );
}

function Actions({ machine }: { machine: Machine }) {
  const mayRestore = useMay('restorer');
  const navigate = useNavigate();
  if (machine.isGone && !mayRestore) return null;
  return (
    <>
      {!machine.isGone && <BackUpNow machine={machine.id} />}
      {mayRestore && machine.points > 0 && (
        <Action run={() => navigate({ to: '/restore', search: { machine: machine.id } })}>Restore</Action>
      )}
      {!machine.isGone && <Power machine={machine} />}
    </>
  );
}

function Power({ machine }: { machine: Machine }) {
  const may = useMay('operator');
  const navigate = useNavigate();
  if (!may) return null;
  const act = (action: 'start' | 'stop') => async () => {
    const id = await runOperation('machinePower', { machine: machine.id, action });
    if (id !== undefined) await navigate({ to: '/jobs/$id', params: { id } });
  };
  return machine.state === 'running' ? (
    <Action confirm={`${machine.name} is asked to shut down; whoever uses it is cut off.`} run={act('stop')}>
      Shut down
    </Action>
  ) : (
    <Action run={act('start')}>Start</Action>
  );
}
