import { Modal, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { call, changed, queries, resource, sessionQuery } from '../client.ts';
import { Action } from '../parts/action.tsx';
import { Form } from '../parts/form.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';

export function OrganisationsPage() {
  const query = useQuery(resource('listOrganisations'));
  const [isMaking, setMaking] = useState(false);
  const make = async ({ name = '' }: Record<string, string>) => {
    await call('createOrganisation', { body: { name } });
    await changed('listOrganisations');
    await queries.invalidateQueries({ queryKey: sessionQuery.queryKey });
    setMaking(false);
  };
  return (
    <Page
      title="Organisations"
      says="Each has hosts, repositories and users of its own, and sees nothing of the others."
      actions={
        <Action variant="filled" run={async () => setMaking(true)}>
          New organisation
        </Action>
      }
    >
      <Loaded query={query}>
        {({ items }) =>
          items.map(({ id, name, created }) => (
            <section key={id} className="panel">
              <strong>{name}</strong>{' '}
              <span className="soft">
                made <Time at={created} />
              </span>
            </section>
          ))
        }
      </Loaded>
      <Modal opened={isMaking} onClose={() => setMaking(false)} title="New organisation">
        <Form submit="Make it" run={make}>
          <TextInput name="name" label="Name" required data-autofocus />
        </Form>
      </Modal>
    </Page>
  );
}
