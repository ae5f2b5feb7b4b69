import { Modal, NumberInput, TextInput } from '@mantine/core';
import { hasRole, type Role, roles as allRoles, type Token } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource, useSession } from '../client.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { Form } from '../parts/form.tsx';
import { Once } from '../parts/once.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { PlainTable } from '../parts/plain-table.tsx';
import { Roles } from '../parts/roles.tsx';
import { Time } from '../parts/time.tsx';

const columns = [
  { head: 'Name', cell: ({ name }: Token) => name },
  { head: 'Owner', cell: ({ owner }: Token) => owner },
  { head: 'Roles', cell: ({ roles }: Token) => roles.join(', ') },
  { head: 'Last used', cell: ({ lastUsed }: Token) => <Time at={lastUsed} none="never" /> },
  { head: 'Ends', cell: ({ expires }: Token) => <Time at={expires} /> },
  { head: 'Action', cell: (token: Token) => <Revoke token={token} /> },
];

function Revoke({ token: { id, name } }: { token: Token }) {
  return (
    <Action
      confirm={`What uses the token ${name} is refused from now on.`}
      run={async () => {
        await call('removeToken', { path: { id } });
        await changed('listTokens');
      }}
    >
      Revoke
    </Action>
  );
}

export function TokensPage() {
  const query = useQuery(resource('listTokens'));
  const [isMaking, setMaking] = useState(false);
  const [secret, setSecret] = useState<string>();
  return (
    <Page
      title="Tokens"
      says={
        <>
          For programs that use <a href="/api/docs">the API</a>.
        </>
      }
      actions={
        <Action variant="filled" run={async () => setMaking(true)}>
          New token
        </Action>
      }
    >
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="There are no tokens">
              Make one for a program, with the roles that it needs and no more.
            </Empty>
          ) : (
            <PlainTable label="Tokens" columns={columns} rows={items} idOf={({ id }) => id} isPanel />
          )
        }
      </Loaded>
      <Modal opened={isMaking} onClose={() => setMaking(false)} title="New token">
        <NewToken
          done={(made) => {
            setMaking(false);
            setSecret(made);
          }}
        />
      </Modal>
      <Once title="The token" secret={secret} close={() => setSecret(undefined)} />
    </Page>
  );
}

function NewToken({ done }: { done: (secret: string) => void }) {
  const { organisation } = useSession();
  const [roles, setRoles] = useState<Role[]>(['viewer']);
  const make = async ({ name = '', days = '' }: Record<string, string>) => {
    const { secret } = await call('createToken', { body: { name, roles, days: Number(days) } });
    await changed('listTokens');
    done(secret);
  };
  return (
    <Form submit="Make it" run={make} isDisabled={roles.length === 0}>
      <TextInput name="name" label="Name" required data-autofocus />
      <NumberInput
        name="days"
        label="Ends after, in days"
        min={1}
        max={3650}
        defaultValue={90}
        required
        hideControls
      />
      <Roles
        value={roles}
        onChange={setRoles}
        of={allRoles.filter((role) => hasRole(organisation.roles, role))}
      />
    </Form>
  );
}
