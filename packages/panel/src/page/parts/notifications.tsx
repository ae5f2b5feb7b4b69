/** Whom Prima tells when something needs a person. For administrators. */
import { Modal, NativeSelect, NumberInput, PasswordInput, Textarea, TextInput } from '@mantine/core';
import type { NotificationChannel, NotificationTarget } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource } from '../client.ts';
import { plural } from '../format.ts';
import { Action } from './action.tsx';
import { Form } from './form.tsx';
import { Loaded } from './page.tsx';
import { tell } from './problem.tsx';
import { Time } from './time.tsx';

type Kind = NotificationTarget['kind'];

const kinds: { value: Kind; label: string }[] = [
  { value: 'email', label: 'Mail' },
  { value: 'webhook', label: 'Signed webhook' },
  { value: 'slack', label: 'Slack' },
  { value: 'teams', label: 'Teams' },
  { value: 'matrix', label: 'Matrix' },
  { value: 'ntfy', label: 'ntfy' },
];

export function Notifications() {
  const query = useQuery(resource('listChannels'));
  const [isAdding, setAdding] = useState(false);
  return (
    <>
      <Loaded query={query}>
        {({ items }) => (
          <>
            {items.length === 0 && <p className="soft">Nobody is told when something needs a person.</p>}
            {items.map((channel) => (
              <One key={channel.id} channel={channel} />
            ))}
          </>
        )}
      </Loaded>
      <Action run={async () => setAdding(true)}>Add a channel</Action>
      <Modal opened={isAdding} onClose={() => setAdding(false)} title="Add a channel">
        <AddForm done={() => setAdding(false)} />
      </Modal>
    </>
  );
}

function One({ channel }: { channel: NotificationChannel }) {
  const { id, name, kind, at, enabled, waiting, lastSent, lastError, digest } = channel;
  const path = { id };
  const test = async () => {
    try {
      await call('testChannel', { path });
      tell(`${name} took the message.`);
    } finally {
      await changed('listChannels');
    }
  };
  return (
    <div role="group" aria-label={`Channel ${name}`}>
      <p>
        <strong>{name}</strong> <span className="mono soft">{`${kind} · ${at}`}</span>
        {!enabled && ' · off'}
        {digest && ` · digest at ${digest.hour}:00 ${digest.zone}`} · told <Time at={lastSent} none="never" />
        {waiting > 0 && ` · ${plural(waiting, 'message')} waiting`}
      </p>
      {lastError && <p className="tone-bad">{lastError.message}</p>}
      <div className="row-actions">
        <Action run={test}>Test</Action>
        <Action
          confirm={`The channel ${name} is told nothing more; what waits for it is dropped.`}
          run={async () => {
            await call('removeChannel', { path });
            await changed('listChannels');
          }}
        >
          Remove
        </Action>
      </div>
    </div>
  );
}

function AddForm({ done }: { done: () => void }) {
  const [kind, setKind] = useState<Kind>('email');
  const add = async (values: Record<string, string>) => {
    const { name = '', hour, zone = '' } = values;
    const digest = hour ? { digest: { hour: Number(hour), zone } } : {};
    await call('addChannel', { body: { name, target: targetOf(kind, values), ...digest } });
    await changed('listChannels');
    tell('Added; test it.');
    done();
  };
  return (
    <Form submit="Add" run={add}>
      <TextInput name="name" label="Name" required data-autofocus />
      <NativeSelect
        label="Kind"
        value={kind}
        onChange={({ currentTarget }) => setKind(currentTarget.value as Kind)}
        data={kinds}
      />
      {kind === 'email' ? <MailFields /> : <WebFields kind={kind} />}
      <Textarea
        name="ca"
        label="Authority of its certificate (PEM, optional)"
        autosize
        minRows={1}
        maxRows={6}
      />
      <NumberInput
        name="hour"
        label="How things stand, daily at the hour"
        placeholder="never"
        min={0}
        max={23}
        hideControls
      />
      <TextInput
        name="zone"
        label="in the time zone"
        defaultValue={Intl.DateTimeFormat().resolvedOptions().timeZone}
      />
    </Form>
  );
}

function MailFields() {
  return (
    <>
      <TextInput name="host" label="SMTP server" required />
      <NumberInput name="port" label="Port" defaultValue={587} min={1} max={65_535} hideControls />
      <NativeSelect
        name="security"
        label="Encryption"
        data={[
          { value: 'starttls', label: 'STARTTLS' },
          { value: 'tls', label: 'TLS from the start' },
        ]}
      />
      <TextInput name="user" label="User" autoComplete="off" />
      <PasswordInput name="password" label="Password" autoComplete="new-password" />
      <TextInput name="from" label="From" type="email" required />
      <TextInput name="to" label="To" description="Addresses, with commas between them" required />
    </>
  );
}

function WebFields({ kind }: { kind: Exclude<Kind, 'email'> }) {
  return (
    <>
      <TextInput name="url" label="Address" type="url" required />
      {kind === 'webhook' && (
        <PasswordInput
          name="secret"
          label="Secret that signs requests"
          description="At least 16 characters"
          minLength={16}
          autoComplete="new-password"
          required
        />
      )}
      {kind === 'matrix' && (
        <TextInput name="room" label="Room’s id" placeholder="!room:example.org" required />
      )}
      {(kind === 'matrix' || kind === 'ntfy') && (
        <PasswordInput name="token" label="Token" autoComplete="new-password" required={kind === 'matrix'} />
      )}
    </>
  );
}

function targetOf(kind: Kind, values: Record<string, string>): NotificationTarget {
  const { url = '', secret = '', room = '', token = '', host = '', from = '' } = values;
  const more = values['ca'] ? { ca: values['ca'] } : {};
  switch (kind) {
    case 'webhook':
      return { kind, url, secret, ...more };
    case 'matrix':
      return { kind, url, room, token, ...more };
    case 'ntfy':
      return { kind, url, ...(token ? { token } : {}), ...more };
    case 'slack':
    case 'teams':
      return { kind, url, ...more };
    case 'email': {
      const { user, password } = values;
      return {
        kind,
        host,
        port: Number(values['port']),
        security: values['security'] === 'tls' ? 'tls' : 'starttls',
        ...(user ? { user } : {}),
        ...(password ? { password } : {}),
        from,
        to: (values['to'] ?? '').split(/[\s,]+/).filter(Boolean),
        ...more,
      };
    }
  }
}
