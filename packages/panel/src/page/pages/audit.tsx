import { Button, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { type AuditEntry, endpoints, urlOf } from '@prima/api/http';
import { useState } from 'react';
import { call } from '../client.ts';
import { plural } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { type Column, Grid } from '../parts/grid.tsx';
import { Page } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';

const columns: Column<AuditEntry>[] = [
  { head: 'No.', width: '70px', isNumber: true, cell: ({ sequence }) => sequence },
  { head: 'Time', width: '120px', cell: ({ time }) => <Time at={time} /> },
  { head: 'Who', width: 'minmax(90px, 1fr)', cell: ({ actor }) => actor },
  { head: 'What', width: 'minmax(110px, 1fr)', cell: ({ action }) => action },
  { head: 'On', width: 'minmax(110px, 2fr)', cell: ({ target }) => target ?? '–' },
  {
    head: 'Outcome',
    width: '90px',
    cell: ({ outcome }) => <span className={outcome === 'done' ? '' : 'tone-warn'}>{outcome}</span>,
  },
  {
    head: 'Hash',
    width: '110px',
    cell: ({ hash }) => (
      <span className="mono" title={hash}>
        {hash.slice(0, 12)}
      </span>
    ),
  },
];

export function AuditPage() {
  const [actor, setActor] = useState('');
  const [action, setAction] = useState('');
  const [verified, setVerified] = useState('');
  const [filter] = useDebouncedValue({ ...(actor ? { actor } : {}), ...(action ? { action } : {}) }, 300);
  const verify = async () => {
    const { entries, isWhole, brokenAt, head } = await call('verifyAudit');
    setVerified(
      isWhole
        ? `The chain of ${plural(entries, 'entry').replace('entrys', 'entries')} is whole; it ends with ${head.slice(0, 16)}.`
        : `The chain is broken at entry ${brokenAt}: the log was changed. Compare it with an export.`,
    );
  };
  return (
    <Page
      title="Audit"
      says={<span role="status">{verified}</span>}
      actions={<Action run={verify}>Verify the chain</Action>}
    >
      <div className="filters">
        <TextInput
          label="Who"
          value={actor}
          onChange={({ currentTarget }) => setActor(currentTarget.value.trim())}
        />
        <TextInput
          label="What"
          value={action}
          onChange={({ currentTarget }) => setAction(currentTarget.value.trim())}
        />
        <Export />
      </div>
      <Grid
        label="Audit log"
        queryKey={['listAudit', filter]}
        page={(cursor, signal) =>
          call('listAudit', { query: { ...filter, ...(cursor ? { cursor } : {}) }, signal })
        }
        columns={columns}
        idOf={({ sequence }) => String(sequence)}
        empty={<Empty title="No entry is like that">Change the filters.</Empty>}
      />
    </Page>
  );
}

/** As JSON lines, such that others can verify the chain: docs/operating/audit.md. Days are those of the reader. */
function Export() {
  const [from, setFrom] = useState('');
  const [last, setLast] = useState('');
  const query = {
    ...(from === '' ? {} : { from: new Date(`${from}T00:00`).toISOString() }),
    ...(last === '' ? {} : { to: dayAfter(last) }),
  };
  return (
    <>
      <TextInput
        type="date"
        label="Export from"
        value={from}
        onChange={({ currentTarget }) => setFrom(currentTarget.value)}
      />
      <TextInput
        type="date"
        label="To the end of"
        value={last}
        onChange={({ currentTarget }) => setLast(currentTarget.value)}
      />
      <Button
        component="a"
        variant="default"
        size="sm"
        href={urlOf(endpoints.exportAudit.path, {}, query)}
        download="audit.jsonl"
      >
        Export JSON lines
      </Button>
    </>
  );
}

function dayAfter(day: string): string {
  const end = new Date(`${day}T00:00`);
  end.setDate(end.getDate() + 1);
  return end.toISOString();
}
