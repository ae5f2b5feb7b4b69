/** Backs one machine up at once, into a repository that is chosen where there are several. */
import { Group, Modal, NativeSelect } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { resource, runOperation, useMay } from '../client.ts';
import { Action } from './action.tsx';
import { Form } from './form.tsx';

export function BackUpNow({ machine }: { machine: string }) {
  const may = useMay('operator');
  const navigate = useNavigate();
  const [isAsking, setAsking] = useState(false);
  const { data } = useQuery({ ...resource('listRepositories'), enabled: may });
  if (!may) return null;
  const begin = async (repository: string, mode: string) => {
    const id = await runOperation('backup', { sources: [machine], mode }, repository);
    if (id !== undefined) await navigate({ to: '/jobs/$id', params: { id } });
  };
  const repositories = (data?.items ?? []).map(({ name }) => name);
  return (
    <>
      <Action
        variant="filled"
        run={async () => {
          if (repositories.length === 0)
            throw new Error('there is no repository to back up into; add one first');
          setAsking(true);
        }}
      >
        Back up now
      </Action>
      <Modal opened={isAsking} onClose={() => setAsking(false)} title={`Back up ${machine}`}>
        <Form submit="Back up" run={({ repository = '', mode = '' }) => begin(repository, mode)}>
          <Group grow>
            <NativeSelect name="repository" label="Into" data={repositories} />
            <NativeSelect
              name="mode"
              label="How"
              data={[
                { value: 'auto', label: 'as it is best' },
                { value: 'hot', label: 'hot: it runs on' },
                { value: 'warm', label: 'warm: with its memory' },
                { value: 'cold', label: 'cold: it is off' },
              ]}
            />
          </Group>
        </Form>
      </Modal>
    </>
  );
}
