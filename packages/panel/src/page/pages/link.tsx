import { PasswordInput, TextInput } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { call, resource, setSession } from '../client.ts';
import { Form } from '../parts/form.tsx';
import { ProviderButton } from '../parts/provider-button.tsx';
import { Loaded } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';

const titles = {
  'first-start': 'Make the first account',
  invitation: 'Make your account',
  reset: 'Choose a new password',
};

export function LinkPage() {
  useDocumentTitle('One-time link – Prima');
  const { secret } = useParams({ from: '/link/$secret' });
  const navigate = useNavigate();
  const query = useQuery(resource('openLink', { path: { secret } }));
  const use = async ({ name = '', password = '', again = '', email }: Record<string, string>) => {
    if (password !== again) throw new Error('the two passwords differ; type them once more');
    setSession(
      await call('useLink', { path: { secret }, body: { name, password, ...(email ? { email } : {}) } }),
    );
    await navigate({ to: '/' });
  };
  return (
    <main className="door">
      <div className="brand">
        <img src="/icon.svg" alt="" /> Prima
      </div>
      <Loaded query={query}>
        {({ purpose, name, organisation, expires }) => (
          <div className="panel">
            <h1>{titles[purpose]}</h1>
            <p className="soft" style={{ marginBottom: 12 }}>
              {organisation} · this link works once and ends <Time at={expires} />
            </p>
            <Form submit="Go on" run={use}>
              <TextInput
                name="name"
                label="Name"
                description="Letters, digits, “.”, “_”, “-”"
                autoComplete="username"
                defaultValue={name ?? ''}
                readOnly={purpose === 'reset'}
                required
              />
              {purpose !== 'reset' && (
                <TextInput name="email" label="Email (optional)" type="email" autoComplete="email" />
              )}
              <PasswordInput
                name="password"
                label="Password"
                description="At least 12 characters; several words are easy to keep in mind"
                autoComplete="new-password"
                minLength={12}
                required
              />
              <PasswordInput name="again" label="The password again" autoComplete="new-password" required />
            </Form>
            {purpose === 'invitation' && <ProviderButton link={secret} />}
          </div>
        )}
      </Loaded>
    </main>
  );
}
