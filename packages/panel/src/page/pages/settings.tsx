import { Checkbox, NumberInput, PasswordInput, TextInput } from '@mantine/core';
import type { Answer, Settings } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, queries, resource, sessionQuery, useMay, useSession } from '../client.ts';
import { Action } from '../parts/action.tsx';
import { Form } from '../parts/form.tsx';
import { Identities, IdentityProvider } from '../parts/identity-provider.tsx';
import { Notifications } from '../parts/notifications.tsx';
import { OwnSessions } from '../parts/own-sessions.tsx';
import { Loaded, Page, Section } from '../parts/page.tsx';
import { tell } from '../parts/problem.tsx';
import { QrCode } from '../parts/qr-code.tsx';

export function SettingsPage() {
  const query = useQuery(resource('getSettings'));
  const isProvider = useMay('provider');
  const isAdministrator = useMay('administrator');
  return (
    <Page title="Settings">
      <div className="columns">
        <Section title="Organisation">
          <Loaded query={query}>{(settings) => <Organisation settings={settings} />}</Loaded>
        </Section>
        <Section title="Your password">
          <Password />
        </Section>
        <Section title="Your second factor">
          <SecondFactor />
        </Section>
        <Section title="Where you are signed in">
          <OwnSessions />
        </Section>
        <Section title="Your way in through a provider">
          <Identities />
        </Section>
        {isAdministrator && (
          <Section title="Notifications">
            <Notifications />
          </Section>
        )}
        {isProvider && (
          <Section title="Sign-in through a provider">
            <IdentityProvider />
          </Section>
        )}
      </div>
    </Page>
  );
}

function Organisation({ settings }: { settings: Settings }) {
  const may = useMay('administrator');
  const save = async ({ name = '', minutes = '', second }: Record<string, string>) => {
    const body = {
      organisationName: name,
      inventoryMinutes: Number(minutes),
      secondApproval: second !== undefined,
    };
    await call('changeSettings', { body });
    await changed('getSettings');
    await queries.invalidateQueries({ queryKey: sessionQuery.queryKey });
    tell('Saved.');
  };
  if (!may)
    return (
      <p>
        {settings.organisationName}; machines are read every {settings.inventoryMinutes} minutes; forgetting
        points {settings.secondApproval ? 'needs a second person' : 'needs one person'}.
      </p>
    );
  return (
    <Form submit="Save" run={save}>
      <TextInput name="name" label="Name" defaultValue={settings.organisationName} required />
      <NumberInput
        name="minutes"
        label="Read the hosts’ machines every, in minutes"
        min={1}
        max={1440}
        hideControls
        defaultValue={settings.inventoryMinutes}
      />
      <Checkbox
        name="second"
        label="Forgetting points needs a second person"
        defaultChecked={settings.secondApproval}
      />
    </Form>
  );
}

function Password() {
  const [round, setRound] = useState(0);
  const change = async ({ old = '', password = '', again = '' }: Record<string, string>) => {
    if (password !== again) throw new Error('the two new passwords differ; type them once more');
    await call('changePassword', { body: { old, password } });
    tell('Changed; your other sessions ended.');
    setRound(round + 1);
  };
  return (
    <Form key={round} submit="Change" run={change}>
      <PasswordInput name="old" label="The old one" autoComplete="current-password" required />
      <PasswordInput
        name="password"
        label="The new one"
        description="At least 12 characters"
        minLength={12}
        autoComplete="new-password"
        required
      />
      <PasswordInput name="again" label="The new one again" autoComplete="new-password" required />
    </Form>
  );
}

const codeField = (
  <TextInput
    name="code"
    label="Code of the authenticator"
    inputMode="numeric"
    pattern="\d{6}"
    autoComplete="one-time-code"
    required
  />
);

function SecondFactor() {
  const { user } = useSession();
  const [begun, setBegun] = useState<Answer<'beginTotp'>>();
  const reread = () => queries.invalidateQueries({ queryKey: sessionQuery.queryKey });
  if (user.hasTotp)
    return (
      <>
        <p className="tone-good">It is on.</p>
        <Form
          submit="Turn it off"
          run={async ({ code = '' }) => {
            await call('removeTotp', { query: { code } });
            await reread();
          }}
        >
          {codeField}
        </Form>
      </>
    );
  if (!begun)
    return (
      <>
        <p className="soft">With it, a password alone opens nothing.</p>
        <Action run={async () => setBegun(await call('beginTotp'))}>Turn it on</Action>
      </>
    );
  return (
    <>
      <p>Read this with an authenticator, then type the code that it shows.</p>
      <QrCode text={begun.url} />
      <p className="mono">{begun.secret}</p>
      <Form
        submit="Turn it on"
        run={async ({ code = '' }) => {
          await call('confirmTotp', { body: { code } });
          setBegun(undefined);
          await reread();
        }}
      >
        {codeField}
      </Form>
    </>
  );
}
