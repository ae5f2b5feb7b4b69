import { Modal } from '@mantine/core';
import type { Policy } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { call, changed, resource, useMay } from '../client.ts';
import { cronInWords } from '../cron.ts';
import { plural } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { PolicyForm } from '../parts/policy-form.tsx';
import { tell } from '../parts/problem.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

export function PoliciesPage() {
  const query = useQuery({ ...resource('listPolicies'), refetchInterval: 15_000 });
  const may = useMay('operator');
  const [editing, setEditing] = useState<Policy | 'new'>();
  const close = () => setEditing(undefined);
  return (
    <Page
      title="Policies"
      actions={
        may && (
          <Action variant="filled" run={async () => setEditing('new')}>
            New policy
          </Action>
        )
      }
    >
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="There are no policies yet">
              <span>
                A policy says which machines are backed up when, and what is kept. It needs a{' '}
                <Link to="/repositories">repository</Link>.
              </span>
            </Empty>
          ) : (
            items.map((policy) => <Row key={policy.id} policy={policy} edit={() => setEditing(policy)} />)
          )
        }
      </Loaded>
      <Modal
        opened={editing !== undefined}
        onClose={close}
        size={1000}
        title={editing === 'new' ? 'New policy' : 'Change policy'}
      >
        {editing !== undefined && (
          <PolicyForm policy={editing === 'new' ? undefined : editing} done={close} />
        )}
      </Modal>
    </Page>
  );
}

function Row({ policy, edit }: { policy: Policy; edit: () => void }) {
  const may = useMay('operator');
  return (
    <section className="panel" aria-label={policy.name}>
      <div className="head" style={{ marginBottom: 6 }}>
        <h2>{policy.name}</h2>
        <span>
          {policy.lastOutcome ? <State is={policy.lastOutcome} /> : <span className="soft">never ran</span>}
          {!policy.enabled && <span className="tone-warn"> · off</span>}
        </span>
        <div className="says" />
        {may && <Actions policy={policy} edit={edit} />}
      </div>
      <p>
        {plural(policy.machineCount, 'machine')} into {policy.repository},{' '}
        {cronInWords(policy.schedule) ?? policy.schedule} ({policy.timeZone})
      </p>
      <p className="soft">
        Next <Time at={policy.nextRun} none="not planned" /> · last <Time at={policy.lastRun} none="never" />{' '}
        · no machine older than {policy.promiseHours} h · {keptInWords(policy)}
      </p>
    </section>
  );
}

function keptInWords({ retention = {} }: Policy): string {
  const parts = Object.entries(retention).filter(([, count]) => count !== undefined && count > 0);
  return parts.length === 0
    ? 'every point is kept'
    : `kept: ${parts.map(([rule, count]) => `${count} ${rule}`).join(', ')}`;
}

function Actions({ policy, edit }: { policy: Policy; edit: () => void }) {
  const navigate = useNavigate();
  const path = { id: policy.id };
  return (
    <div className="row-actions">
      <Action
        run={async () => {
          const { jobs } = await call('runPolicy', { path, body: {} });
          await changed('listPolicies', 'listJobs');
          const [id] = jobs;
          if (id === undefined) return tell(`${policy.name} takes no machine just now`);
          await (jobs.length === 1
            ? navigate({ to: '/jobs/$id', params: { id } })
            : navigate({ to: '/jobs' }));
        }}
      >
        Run now
      </Action>
      <Action run={async () => edit()}>Change</Action>
      <Action
        confirm={`The policy ${policy.name} goes; the points that it made stay.`}
        run={async () => {
          await call('removePolicy', { path });
          await changed('listPolicies');
        }}
      >
        Remove
      </Action>
    </div>
  );
}
