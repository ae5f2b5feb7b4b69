import type { Overview } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { resource } from '../client.ts';
import { formatBytes, formatRatio, plural } from '../format.ts';
import { Days } from '../parts/days.tsx';
import { Empty } from '../parts/empty.tsx';
import { Growth } from '../parts/growth.tsx';
import { Meter } from '../parts/meter.tsx';
import { Figures, Loaded, Page, Section } from '../parts/page.tsx';
import { Promises } from '../parts/promises.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

export function OverviewPage() {
  const query = useQuery({ ...resource('getOverview'), refetchInterval: 10_000 });
  const repositories = useQuery(resource('listRepositories'));
  return (
    <Page title="Overview" says={query.data && sentenceOf(query.data)}>
      <Loaded query={query}>
        {(overview) => (
          <>
            <Standing of={overview.machines} />
            <div className="columns">
              <Attention of={overview.attention} />
              <Running of={overview} />
              <Section title="Last good points against their promise">
                <Promises of={overview.oldest} now={query.dataUpdatedAt} />
              </Section>
              <Section title="Backups of the last 30 days">
                <Days of={overview.days} />
              </Section>
              <Section title="Storage">
                <Figures
                  of={[
                    ['Stored', formatBytes(overview.storage.stored)],
                    ['Data', formatBytes(overview.storage.data)],
                    ['Ratio', formatRatio(overview.storage.data, overview.storage.stored)],
                    ['Days left', daysLeft(repositories.data?.items ?? [])],
                  ]}
                />
                <Growth of={overview.storage.growth} />
              </Section>
            </div>
          </>
        )}
      </Loaded>
    </Page>
  );
}

function sentenceOf({ machines }: Overview): string {
  if (machines.total === 0) return 'Nothing is protected yet: there are no machines.';
  const { total, late, failed, unprotected } = machines;
  if (machines.protected === total) return `All ${plural(total, 'machine')} can be brought back.`;
  const open = [
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(late > 0 ? [`${late} late`] : []),
    ...(unprotected > 0 ? [`${unprotected} unprotected`] : []),
  ];
  return `${machines.protected} of ${plural(total, 'machine')} protected; ${open.join(', ')}.`;
}

/** Of the repository that is full first. */
function daysLeft(repositories: readonly { daysLeft?: number | undefined }[]): string {
  const known = repositories.flatMap(({ daysLeft }) => (daysLeft === undefined ? [] : [daysLeft]));
  return known.length === 0 ? 'not known yet' : Math.floor(Math.min(...known)).toLocaleString('en');
}

function Standing({ of: machines }: { of: Overview['machines'] }) {
  if (machines.total === 0)
    return (
      <Empty title="Three steps to the first restore point">
        <span>
          1. <Link to="/repositories">Add a repository</Link>, where points are kept.
        </span>
        <span>
          2. <Link to="/hosts">Add a host</Link>; its machines appear by themselves.
        </span>
        <span>
          3. <Link to="/policies">Make a policy</Link> that backs them up on time.
        </span>
      </Empty>
    );
  return (
    <Section title="Machines">
      <Figures
        large
        of={[
          ['Protected', <span className="tone-good">{machines.protected}</span>],
          ['Late', <span className={machines.late > 0 ? 'tone-warn' : ''}>{machines.late}</span>],
          ['Failed', <span className={machines.failed > 0 ? 'tone-bad' : ''}>{machines.failed}</span>],
          ['Unprotected', machines.unprotected],
          ['All', <Link to="/machines">{machines.total}</Link>],
        ]}
      />
    </Section>
  );
}

function Attention({ of: items }: { of: Overview['attention'] }) {
  return (
    <Section title="What needs you">
      {items.length === 0 && <p className="tone-good">Nothing.</p>}
      <ul className="attention">
        {items.map(({ kind, subject, level, message, next, since }) => (
          <li key={`${kind} ${subject} ${message}`} className={level}>
            <strong>{subject}</strong>{' '}
            <span className="soft">
              {level} · {kind} <Time at={since} none="" />
            </span>
            <div>{message}</div>
            <div className="soft">{next}</div>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function Running({ of: { jobs, running } }: { of: Overview }) {
  return (
    <Section title="Jobs">
      <Figures
        of={[
          ['Running', jobs.running],
          ['Queued', jobs.queued],
          ['Succeeded today', jobs.succeededToday],
          [
            'Failed today',
            <span className={jobs.failedToday > 0 ? 'tone-bad' : ''}>{jobs.failedToday}</span>,
          ],
        ]}
      />
      {running.map((job) => (
        <div key={job.id} style={{ marginTop: 10 }}>
          <State is={job.state} />{' '}
          <Link to="/jobs/$id" params={{ id: job.id }}>
            {job.summary}
          </Link>
          <Meter progress={job.progress} />
        </div>
      ))}
    </Section>
  );
}
