import { PasswordInput, TextInput } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useState } from 'react';
import { call, setSession } from '../client.ts';
import { Form } from '../parts/form.tsx';
import { ProviderButton } from '../parts/provider-button.tsx';
import { ownPath } from '../places.ts';

export function SignInPage() {
  useDocumentTitle('Sign in – Prima');
  const { from } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const [needsCode, setNeedsCode] = useState(false);
  const signIn = async ({ name = '', password = '', code }: Record<string, string>) => {
    const answer = await call('signIn', { body: { name, password, ...(code ? { code } : {}) } });
    if ('needsCode' in answer) return setNeedsCode(true);
    setSession(answer);
    await navigate({ href: ownPath(from) });
  };
  return (
    <main className="door">
      <div className="brand">
        <img src="/icon.svg" alt="" /> Prima
      </div>
      <div className="panel">
        <h1 style={{ marginBottom: 12 }}>Sign in</h1>
        <Form submit="Sign in" run={signIn}>
          <TextInput name="name" label="Name" autoComplete="username" required autoFocus />
          <PasswordInput name="password" label="Password" autoComplete="current-password" required />
          {needsCode && (
            <TextInput
              name="code"
              label="Code of the authenticator"
              autoComplete="one-time-code"
              inputMode="numeric"
              pattern="\d{6}"
              required
              autoFocus
            />
          )}
        </Form>
      </div>
      <ProviderButton from={from} />
      <p className="soft">
        No account, or no way in? An administrator makes a one-time link for you under Users.
      </p>
    </main>
  );
}
