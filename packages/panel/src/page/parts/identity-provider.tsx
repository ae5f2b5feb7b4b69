/** Which provider people sign in through, and what its groups may. For administrators of the first organisation. */
import { Checkbox, PasswordInput, Textarea, TextInput } from '@mantine/core';
import type { Answer, Organisation } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { call, changed, resource } from '../client.ts';
import { parseGroupRules, writeGroupRules } from '../group-rules.ts';
import { Action } from './action.tsx';
import { Form } from './form.tsx';
import { Loaded } from './page.tsx';
import { tell } from './problem.tsx';
import { LinkButton } from './provider-button.tsx';

export function IdentityProvider() {
  const query = useQuery(resource('getIdentityProvider'));
  const organisations = useQuery(resource('listOrganisations'));
  return (
    <Loaded query={query}>
      {(kept) => (
        <Loaded query={organisations}>
          {({ items }) => <ProviderForm key={JSON.stringify(kept)} kept={kept} organisations={items} />}
        </Loaded>
      )}
    </Loaded>
  );
}

interface ProviderFormProps {
  kept: Answer<'getIdentityProvider'>;
  organisations: Organisation[];
}

function ProviderForm({ kept, organisations }: ProviderFormProps) {
  const { provider, redirectUri } = kept;
  const save = async (values: Record<string, string>) => {
    const { name = '', issuer = '', clientId = '', clientSecret, nameClaim = '', groupsClaim = '' } = values;
    const { scopes = '', groups = '', admits, ca } = values;
    await call('changeIdentityProvider', {
      body: {
        name,
        issuer,
        clientId,
        nameClaim,
        groupsClaim,
        scopes,
        ...(clientSecret ? { clientSecret } : {}),
        ...(ca ? { ca } : {}),
        groups: parseGroupRules(groups, organisations),
        admitsUnknown: admits !== undefined,
      },
    });
    await changed('getIdentityProvider', 'getSignInWays');
    tell('The provider answered, and is kept.');
  };
  if (redirectUri === undefined)
    return <p>Start the server with --public-url: the provider has to know where it sends people back to.</p>;
  return (
    <>
      <p className="soft">
        Passwords stay. The provider sends people back to <span className="mono">{redirectUri}</span>
      </p>
      <Form submit="Ask it, then keep it" run={save}>
        <TextInput name="name" label="Name on the button" defaultValue={provider?.name} required />
        <TextInput name="issuer" label="Issuer" type="url" defaultValue={provider?.issuer} required />
        <TextInput name="clientId" label="Client id" defaultValue={provider?.clientId} required />
        <PasswordInput
          name="clientSecret"
          label="Client secret"
          description={provider?.hasSecret ? 'Empty: the one that is kept' : 'Empty: none'}
          autoComplete="off"
        />
        <TextInput
          name="scopes"
          label="Scopes"
          defaultValue={provider?.scopes ?? 'openid profile email'}
          required
        />
        <TextInput
          name="nameClaim"
          label="Claim with the name"
          defaultValue={provider?.nameClaim ?? 'preferred_username'}
          required
        />
        <TextInput
          name="groupsClaim"
          label="Claim with the groups"
          defaultValue={provider?.groupsClaim ?? 'groups'}
          required
        />
        <Textarea
          name="groups"
          label="What groups may"
          description="GROUP = ORGANISATION: role, role; one a line"
          autosize
          minRows={2}
          defaultValue={writeGroupRules(provider?.groups ?? [], organisations)}
        />
        <Checkbox
          name="admits"
          label="Whoever is in one of these groups gets an account"
          defaultChecked={provider?.admitsUnknown ?? false}
        />
        <Textarea
          name="ca"
          label="Authority of its certificate (PEM, optional)"
          autosize
          minRows={2}
          maxRows={6}
          defaultValue={provider?.ca}
        />
      </Form>
      {provider && (
        <Action
          confirm="Nobody signs in through it any more; accounts without a password need a link."
          run={async () => {
            await call('removeIdentityProvider');
            await changed('getIdentityProvider', 'getSignInWays');
          }}
        >
          Remove it
        </Action>
      )}
    </>
  );
}

/** Of the person who is signed in. */
export function Identities() {
  const ways = useQuery(resource('getSignInWays'));
  const query = useQuery(resource('listIdentities'));
  return (
    <Loaded query={query}>
      {({ items }) => (
        <>
          {items.map(({ id, issuer, subject }) => (
            <p key={id}>
              {subject} at {issuer}{' '}
              <Action
                confirm={`You sign in through ${issuer} no more.`}
                run={async () => {
                  await call('unlinkIdentity', { path: { id } });
                  await changed('listIdentities');
                }}
              >
                Unlink
              </Action>
            </p>
          ))}
          {items.length === 0 && <p className="soft">Your account is linked to no provider.</p>}
          {ways.data?.provider !== undefined && <LinkButton provider={ways.data.provider} />}
        </>
      )}
    </Loaded>
  );
}
