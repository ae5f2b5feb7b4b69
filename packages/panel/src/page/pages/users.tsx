import { Modal } from '@mantine/core';
import type { Role, User } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, resource, useSession } from '../client.ts';
import { Action } from '../parts/action.tsx';
import { Form } from '../parts/form.tsx';
import { Once } from '../parts/once.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { PlainTable } from '../parts/plain-table.tsx';
import { Roles } from '../parts/roles.tsx';
import { Time } from '../parts/time.tsx';

const columns = [
  {
    head: 'Name',
    cell: ({ name, disabled, lockedUntil, email }: User) => (
      <>
        {name} {disabled && <span className="tone-warn">kept out</span>}
        {lockedUntil !== undefined && (
          <span className="tone-warn">
            too many wrong passwords; locked until <Time at={lockedUntil} />
          </span>
        )}
        <div className="soft">{email}</div>
      </>
    ),
  },
  { head: 'Roles', cell: ({ roles }: User) => roles.join(', ') },
  { head: 'Second factor', cell: ({ hasTotp }: User) => (hasTotp ? 'on' : 'off') },
  { head: 'Last seen', cell: ({ lastSeen }: User) => <Time at={lastSeen} none="never" /> },
];

export function UsersPage() {
  const query = useQuery(resource('listUsers'));
  const [editing, setEditing] = useState<User | 'new'>();
  const [link, setLink] = useState<string>();
  const show = ({ path }: { path: string }) => setLink(`${location.origin}${path}`);
  return (
    <Page
      title="Users"
      actions={
        <Action variant="filled" run={async () => setEditing('new')}>
          Invite
        </Action>
      }
    >
      <Loaded query={query}>
        {({ items }) => (
          <PlainTable
            label="Users"
            rows={items}
            idOf={({ id }) => id}
            isPanel
            columns={[
              ...columns,
              {
                head: 'Actions',
                cell: (user) => <Actions user={user} edit={() => setEditing(user)} show={show} />,
              },
            ]}
          />
        )}
      </Loaded>
      <Modal
        opened={editing !== undefined}
        onClose={() => setEditing(undefined)}
        title={editing === 'new' ? 'Invite somebody' : 'Roles'}
      >
        {editing !== undefined && (
          <RolesForm
            user={editing === 'new' ? undefined : editing}
            show={show}
            done={() => setEditing(undefined)}
          />
        )}
      </Modal>
      <Once title="One-time link" secret={link} close={() => setLink(undefined)} />
    </Page>
  );
}

interface RolesFormProps {
  user: User | undefined;
  show: (link: { path: string }) => void;
  done: () => void;
}

function RolesForm({ user, show, done }: RolesFormProps) {
  const [roles, setRoles] = useState<Role[]>(user?.roles ?? ['viewer']);
  const save = async () => {
    if (user) await call('changeUser', { path: { id: user.id }, body: { roles } });
    else show(await call('inviteUser', { body: { roles } }));
    await changed('listUsers');
    done();
  };
  return (
    <Form submit={user ? 'Save' : 'Make a link'} run={save} isDisabled={roles.length === 0}>
      <Roles value={roles} onChange={setRoles} />
    </Form>
  );
}

interface ActionsProps {
  user: User;
  edit: () => void;
  show: (link: { path: string }) => void;
}

function Actions({ user, edit, show }: ActionsProps) {
  const { user: me } = useSession();
  const path = { id: user.id };
  const disabled = !user.disabled;
  if (user.id === me.id) return <span className="soft">you</span>;
  return (
    <div className="row-actions">
      <Action run={async () => edit()}>Roles</Action>
      <Action
        run={async () => {
          await call('changeUser', { path, body: { disabled } });
          await changed('listUsers');
        }}
      >
        {disabled ? 'Keep out' : 'Let in'}
      </Action>
      <Action
        confirm={`${user.name} chooses a new password with a link; the second factor and all sessions end.`}
        run={async () => show(await call('resetUser', { path }))}
      >
        Reset
      </Action>
      <Action
        confirm={`${user.name} is removed from this organisation.`}
        run={async () => {
          await call('removeUser', { path });
          await changed('listUsers');
        }}
      >
        Remove
      </Action>
    </div>
  );
}
