/** Makes a policy or changes one: all that it can say, and what it would do. */
import { Checkbox, NativeSelect, NumberInput, SimpleGrid, Textarea, TextInput } from '@mantine/core';
import type { Policy } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource, useMay } from '../client.ts';
import { keptRules, machineLines, rateUnit, settingsOf } from '../policy-settings.ts';
import { Form, type FormValues, issueAt, issueIn, type IssueOf } from './form.tsx';
import { PolicyCommands } from './policy-commands.tsx';
import { PolicyPreview, usePolicyPreview } from './policy-preview.tsx';

const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const zones = Intl.supportedValuesOf('timeZone');

interface PartProps {
  policy: Policy | undefined;
  issueOf: IssueOf;
}

export function PolicyForm({ policy, done }: { policy: Policy | undefined; done: () => void }) {
  const maySayWhatIsKept = useMay('administrator');
  const mayCommand = useMay('provider');
  const [typed, setTyped] = useState<FormValues>();
  const preview = usePolicyPreview(typed);
  const save = async (values: FormValues) => {
    const body = settingsOf(values, policy);
    if (!maySayWhatIsKept) body.retention = policy?.retention;
    if (!mayCommand) body.commands = policy?.commands;
    await (policy ? call('changePolicy', { path: { id: policy.id }, body }) : call('createPolicy', { body }));
    await changed('listPolicies', 'listMachines', 'getMachine', 'getOverview');
    done();
  };
  const issues = preview.isPlaceholderData ? [] : preview.data?.issues;
  return (
    <Form submit={policy ? 'Save' : 'Make it'} run={save} onValues={setTyped}>
      {(refused) => {
        const issueOf = (path: string) =>
          refused(path) ?? issueIn(preview.error, path) ?? issueAt(issues, path);
        const part = { policy, issueOf };
        return (
          <div className="beside">
            <div className="form">
              <TextInput
                name="name"
                label="Name"
                required
                defaultValue={policy?.name ?? ''}
                error={issueOf('name')}
                data-autofocus
              />
              <Machines {...part} />
              <Places {...part} />
              <Times {...part} />
              <Runs {...part} />
              <Kept {...part} isDisabled={!maySayWhatIsKept} />
              {mayCommand && <PolicyCommands commands={policy?.commands} issueOf={issueOf} />}
              <Checkbox name="enabled" label="Runs by itself" defaultChecked={policy?.enabled ?? true} />
            </div>
            <PolicyPreview of={preview} />
          </div>
        );
      }}
    </Form>
  );
}

function Machines({ policy, issueOf }: PartProps) {
  const machines = policy?.machines ?? { all: true };
  const [isAll, setAll] = useState(machines.all ?? false);
  return (
    <fieldset className="part">
      <legend>Which machines</legend>
      <Checkbox
        name="all"
        label="All machines"
        checked={isAll}
        onChange={({ currentTarget }) => setAll(currentTarget.checked)}
      />
      {!isAll && (
        <Textarea
          name="machines"
          label="Machines"
          description="One a line: HOST/MACHINE, HOST/* for all of a host, NAME* on any host, or tag:TAG"
          autosize
          minRows={2}
          required
          defaultValue={machineLines(machines)}
          error={issueOf('machines.names')}
        />
      )}
      <Textarea
        name="except"
        label="Except"
        description="One a line: HOST/MACHINE, HOST/*, NAME* on any host, or tag:TAG"
        autosize
        minRows={1}
        defaultValue={(machines.except ?? []).join('\n')}
        error={issueOf('machines.except')}
      />
    </fieldset>
  );
}

function Places({ policy, issueOf }: PartProps) {
  const repositories = useQuery(resource('listRepositories'));
  const names = (repositories.data?.items ?? []).map(({ name }) => name);
  return (
    <fieldset className="part">
      <legend>Where to</legend>
      <SimpleGrid cols={{ base: 1, xs: 3 }}>
        <NativeSelect
          key={`first ${names.join()}`}
          name="repository"
          label="Repository"
          data={names}
          defaultValue={policy?.repository ?? names[0] ?? ''}
          error={issueOf('repository')}
        />
        <NativeSelect
          key={`second ${names.join()}`}
          name="copyTo"
          label="Copy to a second"
          data={[{ value: '', label: 'no copy' }, ...names]}
          defaultValue={policy?.copyTo ?? ''}
          error={issueOf('copyTo')}
        />
        <NumberInput
          name="lockDays"
          label="Lock, in days"
          placeholder="no lock"
          min={1}
          max={36_500}
          allowDecimal={false}
          hideControls
          defaultValue={policy?.lockDays ?? ''}
          error={issueOf('lockDays')}
        />
      </SimpleGrid>
      <p className="soft">While a point is locked nobody can forget it, whatever is kept.</p>
    </fieldset>
  );
}

function Times({ policy, issueOf }: PartProps) {
  return (
    <fieldset className="part">
      <legend>When</legend>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <TextInput
          name="schedule"
          label="Schedule"
          description="minute hour day month weekday"
          required
          defaultValue={policy?.schedule ?? '0 22 * * *'}
          error={issueOf('schedule')}
        />
        <TextInput
          name="zone"
          label="Time zone"
          description="as Europe/Berlin"
          required
          list="time-zones"
          defaultValue={policy?.timeZone ?? ownZone}
          error={issueOf('timeZone')}
        />
        <TextInput
          name="from"
          label="Begins from"
          placeholder="22:30"
          description="A run outside waits; empty: at any time"
          defaultValue={policy?.window?.from ?? ''}
          error={issueOf('window.from')}
        />
        <TextInput
          name="to"
          label="Begins until"
          placeholder="05:00"
          description="Past midnight where it is the earlier"
          defaultValue={policy?.window?.to ?? ''}
          error={issueOf('window.to')}
        />
      </SimpleGrid>
      <datalist id="time-zones">
        {zones.map((zone) => (
          <option key={zone} value={zone} />
        ))}
      </datalist>
      <NumberInput
        name="promise"
        label="Promise: no last point older than, in hours"
        min={1}
        required
        hideControls
        defaultValue={policy?.promiseHours ?? 26}
        error={issueOf('promiseHours')}
      />
    </fieldset>
  );
}

function Runs({ policy, issueOf }: PartProps) {
  return (
    <fieldset className="part">
      <legend>How</legend>
      <SimpleGrid cols={{ base: 1, xs: 3 }}>
        <NativeSelect
          name="mode"
          label="Mode"
          data={['auto', 'hot', 'warm', 'cold']}
          defaultValue={policy?.mode ?? 'auto'}
          error={issueOf('mode')}
        />
        <NumberInput
          name="atOnce"
          label="At once on a host"
          min={1}
          max={64}
          allowDecimal={false}
          required
          hideControls
          defaultValue={policy?.atOnce ?? 2}
          error={issueOf('atOnce')}
        />
        <NumberInput
          name="attempts"
          label="Attempts at most"
          min={1}
          max={10}
          allowDecimal={false}
          required
          hideControls
          defaultValue={policy?.attempts ?? 3}
          error={issueOf('attempts')}
        />
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2 }}>
        <NumberInput
          name="readLimit"
          label="Read at most, MiB a second"
          placeholder="no limit"
          min={0.001}
          hideControls
          defaultValue={rateOf(policy?.limits?.read)}
          error={issueOf('limits.read')}
        />
        <NumberInput
          name="storeLimit"
          label="Store at most, MiB a second"
          placeholder="no limit"
          min={0.001}
          hideControls
          defaultValue={rateOf(policy?.limits?.store)}
          error={issueOf('limits.store')}
        />
      </SimpleGrid>
      <Checkbox
        name="skipFreeSpace"
        label="Leave out the free space of file systems"
        defaultChecked={policy?.skipFreeSpace ?? false}
      />
    </fieldset>
  );
}

const rateOf = (bytes: number | undefined): number | '' => (bytes === undefined ? '' : bytes / rateUnit);

function Kept({ policy, issueOf, isDisabled }: PartProps & { isDisabled: boolean }) {
  return (
    <fieldset className="part" disabled={isDisabled}>
      <legend>How many points are kept</legend>
      <SimpleGrid cols={{ base: 3, xs: 6 }}>
        {keptRules.map((rule) => (
          <NumberInput
            key={rule}
            name={rule}
            label={rule}
            min={0}
            allowDecimal={false}
            hideControls
            defaultValue={policy?.retention?.[rule] ?? ''}
            error={issueOf(`retention.${rule}`)}
          />
        ))}
      </SimpleGrid>
      <p className="soft">
        Empty: no such rule; all empty: every point.{isDisabled ? ' An administrator says it.' : ''}
      </p>
    </fieldset>
  );
}
