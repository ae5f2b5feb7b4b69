/** Makes a policy or changes one; tells its schedule in words, and when it runs next. */
import { Checkbox, NativeSelect, NumberInput, SimpleGrid, Textarea, TextInput } from '@mantine/core';
import type { Policy, PolicySettings } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource, useMay } from '../client.ts';
import { cronInWords, nextRuns } from '../cron.ts';
import { formatExact } from '../format.ts';
import { Form } from './form.tsx';

const keeps = ['last', 'daily', 'weekly', 'monthly', 'yearly'] as const;
const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const first = { all: true };

export function PolicyForm({ policy, done }: { policy: Policy | undefined; done: () => void }) {
  const repositories = useQuery(resource('listRepositories'));
  const names = (repositories.data?.items ?? []).map(({ name }) => name);
  const maySayWhatIsKept = useMay('administrator');
  const [isAll, setAll] = useState((policy?.machines ?? first).all ?? false);
  const save = async (values: Record<string, string>) => {
    const body = settingsOf(values, isAll, policy);
    if (!maySayWhatIsKept) body.retention = policy?.retention;
    await (policy ? call('changePolicy', { path: { id: policy.id }, body }) : call('createPolicy', { body }));
    await changed('listPolicies', 'listMachines', 'getMachine', 'getOverview');
    done();
  };
  return (
    <Form submit={policy ? 'Save' : 'Make it'} run={save}>
      <TextInput name="name" label="Name" required defaultValue={policy?.name ?? ''} data-autofocus />
      <Checkbox
        label="All machines"
        checked={isAll}
        onChange={({ currentTarget }) => setAll(currentTarget.checked)}
      />
      {!isAll && (
        <Textarea
          name="machines"
          label="Machines"
          description="One a line: HOST/MACHINE, or HOST/* for all of a host"
          autosize
          minRows={2}
          required
          defaultValue={linesOf(policy).join('\n')}
        />
      )}
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <NativeSelect
          key={names.join()}
          name="repository"
          label="Repository"
          data={names}
          defaultValue={policy?.repository ?? names[0] ?? ''}
        />
        <NativeSelect
          name="mode"
          label="Mode"
          data={['auto', 'hot', 'warm', 'cold']}
          defaultValue={policy?.mode ?? 'auto'}
        />
      </SimpleGrid>
      <Schedule schedule={policy?.schedule ?? '0 22 * * *'} zone={policy?.timeZone ?? ownZone} />
      <NumberInput
        name="promise"
        label="Promise: no last point older than, in hours"
        min={1}
        defaultValue={policy?.promiseHours ?? 26}
        hideControls
      />
      <fieldset className="choices" disabled={!maySayWhatIsKept}>
        <legend>
          How many points are kept (empty: no rule; all empty: every point
          {maySayWhatIsKept ? '' : '; an administrator says it'})
        </legend>
        <SimpleGrid cols={{ base: 3, xs: 5 }}>
          {keeps.map((rule) => (
            <NumberInput
              key={rule}
              name={rule}
              label={rule}
              min={0}
              hideControls
              defaultValue={policy?.retention?.[rule] ?? ''}
            />
          ))}
        </SimpleGrid>
      </fieldset>
      <Checkbox name="enabled" label="Runs by itself" defaultChecked={policy?.enabled ?? true} />
    </Form>
  );
}

function Schedule(given: { schedule: string; zone: string }) {
  const [schedule, setSchedule] = useState(given.schedule);
  const [zone, setZone] = useState(given.zone);
  const runs = nextRuns(schedule, zone, 5);
  return (
    <>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <TextInput
          name="schedule"
          label="Schedule"
          description="minute hour day month weekday"
          required
          value={schedule}
          onChange={({ currentTarget }) => setSchedule(currentTarget.value)}
        />
        <TextInput
          name="zone"
          label="Time zone"
          description="as Europe/Berlin"
          required
          value={zone}
          onChange={({ currentTarget }) => setZone(currentTarget.value)}
        />
      </SimpleGrid>
      <div role="status">
        {runs.length === 0 ? (
          <p className="tone-warn">This is no schedule yet: five fields and a time zone.</p>
        ) : (
          <>
            <p>It runs {cronInWords(schedule)}. Next:</p>
            <ul className="soft" style={{ margin: 0 }}>
              {runs.map((time) => (
                <li key={time}>{formatExact(time)}</li>
              ))}
            </ul>
          </>
        )}
      </div>
    </>
  );
}

function linesOf(policy: Policy | undefined): string[] {
  const { hosts = [], names = [] } = policy?.machines ?? {};
  return [...hosts.map((host) => `${host}/*`), ...names];
}

/** What this form does not show stays as it was. */
function settingsOf(
  values: Record<string, string>,
  isAll: boolean,
  policy: Policy | undefined,
): PolicySettings {
  const {
    id: _id,
    nextRun: _next,
    lastRun: _last,
    lastOutcome: _outcome,
    machineCount: _count,
    ...before
  } = policy ?? ({} as Partial<Policy>);
  const counts = keeps.flatMap((rule) => (values[rule] ? [[rule, Number(values[rule])] as const] : []));
  const { retention: old, ...kept } = before;
  const hourly = old?.hourly === undefined ? {} : { hourly: old.hourly };
  const retention = { ...hourly, ...Object.fromEntries(counts) };
  const except = before.machines?.except;
  const names = (values['machines'] ?? '')
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  return {
    atOnce: 2,
    attempts: 3,
    skipFreeSpace: false,
    ...kept,
    name: values['name'] ?? '',
    enabled: values['enabled'] !== undefined,
    machines: { ...(isAll ? { all: true } : { names }), ...(except ? { except } : {}) },
    repository: values['repository'] ?? '',
    mode: (values['mode'] ?? 'auto') as PolicySettings['mode'],
    schedule: (values['schedule'] ?? '').trim(),
    timeZone: values['zone'] ?? 'UTC',
    promiseHours: Number(values['promise']),
    ...(Object.keys(retention).length > 0 ? { retention } : {}),
  };
}
