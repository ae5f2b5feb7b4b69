/** The tags of a machine, and their change. */
import { Modal, TagsInput } from '@mantine/core';
import type { MachineRow } from '@prima/api/http';
import { useState } from 'react';
import { call, changed, useMay } from '../client.ts';
import { Action } from './action.tsx';
import { Form } from './form.tsx';

export function MachineTags({ of: { host, name, tags } }: { of: MachineRow }) {
  const may = useMay('operator');
  const [chosen, setChosen] = useState<string[]>();
  const save = async () => {
    await call('tagMachine', { path: { host, id: name }, body: { tags: chosen ?? [] } });
    await changed('getMachine', 'listMachines', 'listPolicies');
    setChosen(undefined);
  };
  return (
    <>
      {tags.join(', ') || 'none'}{' '}
      {may && (
        <Action size="compact-xs" run={async () => setChosen(tags)}>
          Change tags
        </Action>
      )}
      <Modal opened={chosen !== undefined} onClose={() => setChosen(undefined)} title={`Tags of ${name}`}>
        <Form submit="Save" run={save}>
          <TagsInput
            label="Tags"
            description="Policies choose by them, as tag:TAG"
            value={chosen ?? []}
            onChange={setChosen}
            data-autofocus
          />
        </Form>
      </Modal>
    </>
  );
}
