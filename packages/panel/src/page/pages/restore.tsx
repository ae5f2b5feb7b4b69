import { Checkbox, NativeSelect, Radio, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { resource, runOperation, useMay } from '../client.ts';
import { formatBytes, formatExact } from '../format.ts';
import { Empty } from '../parts/empty.tsx';
import { Form } from '../parts/form.tsx';
import { Loaded, Page, Section } from '../parts/page.tsx';
import { Problem } from '../parts/problem.tsx';
import { type Target, requestOf, summaryOf } from '../restore-request.ts';

export function RestorePage() {
  const search = useSearch({ from: '/shell/restore' });
  const navigate = useNavigate();
  const may = useMay('restorer');
  const set = (next: typeof search) => void navigate({ to: '/restore', search: next, replace: true });
  if (!may)
    return (
      <Page title="Restore">
        <Empty title="You may not restore">Ask an administrator for the role “restorer”.</Empty>
      </Page>
    );
  return (
    <Page title="Restore" says="Nothing changes until the last step.">
      <Section title="1. Machine">
        <ChooseMachine value={search.machine} onChange={(machine) => set({ machine })} />
      </Section>
      {search.machine && (
        <Section title="2. Point">
          <ChoosePoint
            machine={search.machine}
            value={search.point}
            onChange={(point, repository) => set({ machine: search.machine, point, repository })}
          />
        </Section>
      )}
      {search.machine && search.point && search.repository && (
        <Section title="3. Where to">
          <ChooseTarget
            key={search.point}
            machine={search.machine}
            point={search.point}
            repository={search.repository}
          />
        </Section>
      )}
    </Page>
  );
}

function ChooseMachine({
  value,
  onChange,
}: {
  value: string | undefined;
  onChange: (machine: string) => void;
}) {
  const [q, setQ] = useState('');
  const query = useQuery({
    ...resource('listMachines', { query: { limit: 200, ...(q ? { q } : {}) } }),
    placeholderData: (before) => before,
  });
  return (
    <div className="form">
      <TextInput
        type="search"
        label="Search"
        value={q}
        onChange={({ currentTarget }) => setQ(currentTarget.value)}
      />
      <Loaded query={query}>
        {({ items }) => {
          const withPoints = items.filter(({ points }) => points > 0).map(({ id }) => id);
          if (withPoints.length === 0 && value === undefined)
            return <Empty title="No machine with points is like that">Back one up first.</Empty>;
          return (
            <NativeSelect
              label="Machine"
              value={value ?? ''}
              onChange={({ currentTarget }) => onChange(currentTarget.value)}
              data={[
                { value: '', label: 'choose one' },
                ...new Set([...(value === undefined ? [] : [value]), ...withPoints]),
              ]}
            />
          );
        }}
      </Loaded>
    </div>
  );
}

interface ChoosePointProps {
  machine: string;
  value: string | undefined;
  onChange: (point: string, repository: string) => void;
}

function ChoosePoint({ machine, value, onChange }: ChoosePointProps) {
  const [host = '', name = ''] = machine.split('/');
  const query = useQuery(resource('listPoints', { query: { host, machine: name, limit: 500 } }));
  return (
    <Loaded query={query}>
      {({ items }) => (
        <div className="form">
          <NativeSelect
            label="Point"
            value={value ?? ''}
            onChange={({ currentTarget }) => {
              const chosen = items.find(({ id }) => id === currentTarget.value);
              if (chosen) onChange(chosen.id, chosen.repository);
            }}
            data={[
              { value: '', label: 'choose one' },
              ...items.map((point) => ({
                value: point.id,
                label: `${formatExact(point.time)} · ${point.mode} · ${formatBytes(point.size)} · ${point.repository}`,
              })),
            ]}
          />
        </div>
      )}
    </Loaded>
  );
}

function ChooseTarget({
  machine,
  point,
  repository,
}: {
  machine: string;
  point: string;
  repository: string;
}) {
  const [ownHost = '', name = ''] = machine.split('/');
  const navigate = useNavigate();
  const mayNamePaths = useMay('administrator');
  const hosts = useQuery(resource('listHosts'));
  const [target, setTarget] = useState<Target>({
    whereTo: 'new',
    host: ownHost,
    as: `${name}-restored`,
    folder: '',
    start: false,
  });
  const change = (part: Partial<Target>) => setTarget((old) => ({ ...old, ...part }));
  const go = async () => {
    const { operation, request } = requestOf(target, point, machine);
    const id = await runOperation(operation, request, repository);
    if (id !== undefined) await navigate({ to: '/jobs/$id', params: { id } });
  };
  return (
    <Form submit="Restore" run={go} isDisabled={target.whereTo === 'folder' && target.folder === ''}>
      <Radio.Group label="Where to" value={target.whereTo} onChange={(value) => change({ whereTo: value })}>
        <div className="choices">
          <Radio value="new" label="A new machine on a host" />
          <Radio value="original" label={`Over the machine ${machine}, which has to be off`} />
          {mayNamePaths && <Radio value="folder" label="Disk files in a folder of the server" />}
        </div>
      </Radio.Group>
      {target.whereTo === 'new' && (
        <>
          {hosts.error && <Problem error={hosts.error} />}
          <NativeSelect
            label="Host"
            value={target.host}
            onChange={({ currentTarget }) => change({ host: currentTarget.value })}
            data={(hosts.data?.items ?? []).map((host) => host.name)}
          />
          <TextInput
            label="Its name there"
            required
            value={target.as}
            onChange={({ currentTarget }) => change({ as: currentTarget.value })}
          />
        </>
      )}
      {target.whereTo === 'folder' ? (
        <TextInput
          label="Folder"
          required
          value={target.folder}
          onChange={({ currentTarget }) => change({ folder: currentTarget.value })}
        />
      ) : (
        <Checkbox
          label="Start it afterwards"
          checked={target.start}
          onChange={({ currentTarget }) => change({ start: currentTarget.checked })}
        />
      )}
      <div role="status">
        <h3>4. Summary</h3>
        <p>{summaryOf(target, machine)}</p>
      </div>
    </Form>
  );
}
