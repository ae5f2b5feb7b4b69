import { NativeSelect } from '@mantine/core';
import type { Job, JobState } from '@prima/api/http';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { call } from '../client.ts';
import { formatDuration } from '../format.ts';
import { Empty } from '../parts/empty.tsx';
import { type Column, Grid } from '../parts/grid.tsx';
import { Page } from '../parts/page.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

const columns: Column<Job>[] = [
  {
    head: 'Job',
    width: 'minmax(200px, 3fr)',
    cell: ({ id, summary }) => (
      <Link to="/jobs/$id" params={{ id }}>
        {summary}
      </Link>
    ),
  },
  { head: 'State', width: '110px', cell: ({ state }) => <State is={state} /> },
  { head: 'Asked', width: '120px', cell: ({ created }) => <Time at={created} /> },
  {
    head: 'Took',
    width: '100px',
    isNumber: true,
    cell: ({ started, ended }) =>
      started && ended ? formatDuration(Date.parse(ended) - Date.parse(started)) : '–',
  },
  { head: 'By', width: 'minmax(90px, 1fr)', cell: ({ requestedBy }) => requestedBy },
  { head: 'Why it failed', width: 'minmax(120px, 2fr)', cell: ({ error }) => error?.message ?? '' },
];

export function JobsPage() {
  const [state, setState] = useState('');
  const query = state ? { state: state as JobState } : {};
  return (
    <Page title="Jobs">
      <div className="filters">
        <NativeSelect
          label="State"
          value={state}
          onChange={({ currentTarget }) => setState(currentTarget.value)}
          data={[{ value: '', label: 'all' }, 'queued', 'running', 'succeeded', 'failed', 'cancelled']}
        />
      </div>
      <Grid
        label="Jobs"
        queryKey={['listJobs', query]}
        page={(cursor, signal) =>
          call('listJobs', { query: { ...query, ...(cursor ? { cursor } : {}) }, signal })
        }
        columns={columns}
        idOf={({ id }) => id}
        refresh={4000}
        empty={
          <Empty title={state ? `No job is ${state}` : 'There are no jobs yet'}>
            <span>
              Jobs come from <Link to="/policies">policies</Link>, and from “Back up now” on a{' '}
              <Link to="/machines">machine</Link>.
            </span>
          </Empty>
        }
      />
    </Page>
  );
}
