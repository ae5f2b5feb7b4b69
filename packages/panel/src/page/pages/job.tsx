import type { Job } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link, useNavigate, useParams } from '@tanstack/react-router';
import { useEffect, useRef } from 'react';
import { call, changed, resource, useMay } from '../client.ts';
import { formatBytes, formatClock, formatDuration, formatExact } from '../format.ts';
import { type JobStream, useJobStream } from '../job-stream.ts';
import { Action } from '../parts/action.tsx';
import { Meter } from '../parts/meter.tsx';
import { Figures, Loaded, Page, Section } from '../parts/page.tsx';
import { State } from '../parts/state.tsx';
import { Time } from '../parts/time.tsx';

const bottlenecks = {
  source: 'Reading the machine’s disks takes longest: the host or the way to it is the limit.',
  processing: 'Hashing, compressing and encrypting take longest: this server’s processors are the limit.',
  store: 'Writing to the repository takes longest: its storage is the limit.',
};

export function JobPage() {
  const { id } = useParams({ from: '/shell/jobs/$id' });
  const query = useQuery({ ...resource('getJob', { path: { id } }), refetchInterval: 5000 });
  const stream = useJobStream(id);
  return (
    <Page
      title={query.data?.summary ?? 'Job'}
      says={query.data && <State is={stream.state ?? query.data.state} />}
      actions={query.data && <Actions job={query.data} />}
    >
      <Loaded query={query}>
        {(job) => (
          <>
            <Outcome job={job} />
            <Progress job={job} stream={stream} />
            <Section title="Facts">
              <Figures
                of={[
                  ['Asked', <Time at={job.created} />],
                  ['By', job.requestedBy],
                  ['Began', <Time at={job.started} />],
                  ['Ended', <Time at={job.ended} />],
                  ['Took', took(job)],
                  ['Attempt', `${job.attempt} of ${job.attempts}`],
                  ['Repository', job.repository ?? '–'],
                  ['Machines', <Machines of={job.machines} />],
                ]}
              />
            </Section>
            <Section title="Log">
              {stream.isCut && <p className="tone-warn">The stream was cut; it goes on by itself.</p>}
              <Log of={stream.log} />
            </Section>
          </>
        )}
      </Loaded>
    </Page>
  );
}

const took = ({ started, ended }: Job) =>
  started ? formatDuration((ended ? Date.parse(ended) : Date.now()) - Date.parse(started)) : '–';

function Machines({ of }: { of: readonly string[] }) {
  return of.map((place) => {
    const [host = '', machine] = place.split('/');
    if (machine === undefined) return <span key={place}>{place} </span>;
    return (
      <Link key={place} to="/machines/$host/$machine" params={{ host, machine }}>
        {place}{' '}
      </Link>
    );
  });
}

function Actions({ job }: { job: Job }) {
  const may = useMay('operator');
  const navigate = useNavigate();
  if (!may) return null;
  const path = { id: job.id };
  if (job.state === 'queued' || job.state === 'running')
    return (
      <Action
        confirm="It ends now, and what it began is taken back."
        disabled={job.cancelling}
        run={async () => {
          await call('cancelJob', { path });
          await changed('getJob', 'listJobs');
        }}
      >
        {job.cancelling ? 'Being cancelled…' : 'Cancel'}
      </Action>
    );
  if (job.state === 'succeeded') return null;
  return (
    <Action
      run={async () => {
        const { id } = await call('retryJob', { path });
        await navigate({ to: '/jobs/$id', params: { id } });
      }}
    >
      Try again
    </Action>
  );
}

function Outcome({ job: { error } }: { job: Job }) {
  if (!error) return null;
  return (
    <div className="problem" role="alert">
      <strong className="tone-bad">{error.message}</strong>
      <p className="soft">
        {error.retryable
          ? 'It may pass: try again.'
          : `docs/errors.md tells what to do about “${error.code}”.`}
      </p>
    </div>
  );
}

function Progress({ job, stream }: { job: Job; stream: JobStream }) {
  const progress = stream.progress ?? job.progress;
  if (!progress) return null;
  const isRunning = (stream.state ?? job.state) === 'running';
  const { rate } = stream.progress ?? {};
  return (
    <Section title="Progress">
      <Meter progress={progress} />
      <div style={{ height: 10 }} />
      <Figures
        of={[
          ['At', progress.subject],
          ...(progress.read === undefined ? [] : [['Read', formatBytes(progress.read)] as [string, string]]),
          ...(progress.stored === undefined
            ? []
            : [['Stored', formatBytes(progress.stored)] as [string, string]]),
          ['Rate', isRunning && rate !== undefined && rate >= 0 ? `${formatBytes(rate)}/s` : '–'],
        ]}
      />
      {progress.bottleneck && <p className="soft">{bottlenecks[progress.bottleneck]}</p>}
    </Section>
  );
}

const tones = { debug: 'soft', info: '', warn: 'tone-warn', error: 'tone-bad' };

function Log({ of: lines }: { of: JobStream['log'] }) {
  const list = useRef<HTMLOListElement>(null);
  const isAtEnd = useRef(true);
  useEffect(() => {
    if (isAtEnd.current && list.current && lines.length > 0)
      list.current.scrollTop = list.current.scrollHeight;
  }, [lines]);
  if (lines.length === 0) return <p className="soft">Nothing told yet.</p>;
  return (
    <ol
      className="log"
      ref={list}
      tabIndex={0}
      aria-label="Log"
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        isAtEnd.current = scrollHeight - scrollTop - clientHeight < 30;
      }}
    >
      {lines.map(({ id, time, level, message }) => (
        <li key={id} className={tones[level]}>
          <time className="soft" dateTime={time} title={formatExact(time)}>
            {formatClock(time)}
          </time>
          <span className="soft">{level}</span>
          <span>{message}</span>
        </li>
      ))}
    </ol>
  );
}
