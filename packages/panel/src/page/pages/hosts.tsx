import { Modal, NativeSelect, TextInput } from '@mantine/core';
import type { Answer, Host } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource, useMay } from '../client.ts';
import { plural } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { Form } from '../parts/form.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';
import { Workers } from '../parts/workers.tsx';

export function HostsPage() {
  const query = useQuery({ ...resource('listHosts'), refetchInterval: 30_000 });
  const may = useMay('implementer');
  const [isAdding, setAdding] = useState(false);
  return (
    <Page
      title="Hosts"
      actions={
        may && (
          <Action variant="filled" run={async () => setAdding(true)}>
            Add host
          </Action>
        )
      }
    >
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="There are no hosts yet">
              {may ? 'Add a libvirt daemon, or a folder of plain QEMU machines.' : 'An implementer adds one.'}
            </Empty>
          ) : (
            items.map((host) => <One key={host.name} host={host} />)
          )
        }
      </Loaded>
      <Workers />
      <Modal opened={isAdding} onClose={() => setAdding(false)} title="Add host">
        <AddForm done={() => setAdding(false)} />
      </Modal>
    </Page>
  );
}

function AddForm({ done }: { done: () => void }) {
  const [platform, setPlatform] = useState<Host['platform']>('libvirt');
  const add = async ({ name = '', location = '' }: Record<string, string>) => {
    await call('addHost', { body: { name, platform, location } });
    await changed('listHosts', 'listMachines', 'getOverview');
    done();
  };
  return (
    <Form submit="Try and add" run={add}>
      <TextInput name="name" label="Name" required data-autofocus />
      <NativeSelect
        label="Platform"
        value={platform}
        onChange={({ currentTarget }) => setPlatform(currentTarget.value as Host['platform'])}
        data={[
          { value: 'libvirt', label: 'libvirt' },
          { value: 'qemu', label: 'plain QEMU: a folder of machines' },
        ]}
      />
      <TextInput
        name="location"
        label={platform === 'qemu' ? 'Folder' : 'Address'}
        description={
          platform === 'qemu'
            ? 'on the server'
            : 'qemu:///system · qemu+ssh://root@host/system · qemu+tls://host/system'
        }
        required
      />
    </Form>
  );
}

function One({ host }: { host: Host }) {
  const [tested, setTested] = useState<Answer<'testHost'>>();
  const may = useMay('implementer');
  const path = { id: host.name };
  return (
    <section className="panel" aria-label={host.name}>
      <div className="head" style={{ marginBottom: 6 }}>
        <h2>{host.name}</h2>
        <span className="says mono soft">
          {host.platform} · {host.location}
        </span>
        <div className="row-actions">
          <Action
            run={async () => {
              await call('refreshInventory', { path });
              await changed('listHosts', 'listMachines', 'getOverview');
            }}
          >
            Refresh
          </Action>
          {may && <Action run={async () => setTested(await call('testHost', { path }))}>Test</Action>}
          {may && (
            <Action
              confirm={`Prima forgets the host ${host.name}; its machines and their points stay.`}
              run={async () => {
                await call('removeHost', { path });
                await changed('listHosts', 'listMachines', 'getOverview');
              }}
            >
              Forget
            </Action>
          )}
        </div>
      </div>
      <p>
        {plural(host.machines, 'machine')} · {host.worker !== undefined && `at worker ${host.worker} · `}seen{' '}
        <Time at={host.seen} none="never" />
      </p>
      {host.error && <p className="tone-bad">{host.error.message}</p>}
      {tested && (
        <ul role="status">
          {tested.checks.map(({ name, ok, detail }) => (
            <li key={name} className={ok ? '' : 'tone-bad'}>
              {ok ? '✓' : '✗'} {name}: {detail}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
