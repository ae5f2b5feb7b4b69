/** How fast all jobs together may read of a repository and store in it. */
import { Modal, NumberInput } from '@mantine/core';
import type { RepositoryRow } from '@prima/api/http';
import { useState } from 'react';
import { call, changed } from '../client.ts';
import { rateUnit } from '../policy-settings.ts';
import { Action } from './action.tsx';
import { Form } from './form.tsx';

const kinds = [
  ['store', 'Store at most, MiB a second'],
  ['read', 'Read at most, MiB a second'],
] as const;

export function RepositoryLimits({ of: { id, name, limits } }: { of: RepositoryRow }) {
  const [isOpen, setOpen] = useState(false);
  const save = async (values: Record<string, string>) => {
    const body = Object.fromEntries(
      kinds.flatMap(([kind]) =>
        values[kind] ? [[kind, Math.round(Number(values[kind]) * rateUnit)] as const] : [],
      ),
    );
    await call('limitRepository', { path: { id }, body });
    await changed('listRepositories');
    setOpen(false);
  };
  return (
    <>
      <Action run={async () => setOpen(true)}>Limits</Action>
      <Modal opened={isOpen} onClose={() => setOpen(false)} title={`Limits of ${name}`}>
        <Form submit="Save" run={save}>
          {kinds.map(([kind, label]) => (
            <NumberInput
              key={kind}
              name={kind}
              label={label}
              placeholder="no limit"
              min={0.001}
              hideControls
              defaultValue={limits[kind] === undefined ? '' : limits[kind] / rateUnit}
            />
          ))}
        </Form>
      </Modal>
    </>
  );
}
