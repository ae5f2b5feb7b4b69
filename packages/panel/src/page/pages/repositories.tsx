import { Checkbox, Modal, PasswordInput, TextInput } from '@mantine/core';
import type { RepositoryRow } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { call, changed, resource, runOperation, useMay } from '../client.ts';
import { formatBytes, formatRatio } from '../format.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { Form } from '../parts/form.tsx';
import { Growth } from '../parts/growth.tsx';
import { Figures, Loaded, Page } from '../parts/page.tsx';
import { RepositoryLimits } from '../parts/repository-limits.tsx';
import { Time } from '../parts/time.tsx';

export function RepositoriesPage() {
  const query = useQuery({ ...resource('listRepositories'), refetchInterval: 30_000 });
  const may = useMay('administrator');
  const [isAdding, setAdding] = useState(false);
  const [words, setWords] = useState<string>();
  return (
    <Page
      title="Repositories"
      actions={
        may && (
          <Action variant="filled" run={async () => setAdding(true)}>
            Add repository
          </Action>
        )
      }
    >
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="There are no repositories yet">
              {may ? 'Add one: a folder, an S3 bucket or an SFTP server.' : 'An administrator adds one.'}
            </Empty>
          ) : (
            items.map((repository) => <One key={repository.id} repository={repository} />)
          )
        }
      </Loaded>
      <Modal opened={isAdding} onClose={() => setAdding(false)} title="Add repository">
        <AddForm
          done={(recovery) => {
            setAdding(false);
            setWords(recovery);
          }}
        />
      </Modal>
      <Modal opened={words !== undefined} onClose={() => setWords(undefined)} title="Write these words down">
        <p>They open the repository when the passphrase is lost. They are shown this once.</p>
        <p className="mono panel" style={{ marginTop: 12 }}>
          {words}
        </p>
      </Modal>
    </Page>
  );
}

function AddForm({ done }: { done: (recovery: string | undefined) => void }) {
  const [isNew, setNew] = useState(true);
  const add = async ({ name = '', url = '', passphrase = '', again = '' }: Record<string, string>) => {
    if (isNew && passphrase !== again) throw new Error('the two passphrases differ; type them once more');
    const { recovery } = await call('addRepository', { body: { name, url, passphrase, create: isNew } });
    await changed('listRepositories', 'getOverview');
    done(recovery);
  };
  return (
    <Form submit="Add" run={add}>
      <TextInput name="name" label="Name" required data-autofocus />
      <TextInput name="url" label="Where" description="/srv/backups · s3://… · sftp://…" required />
      <Checkbox
        label="Make a new one there"
        checked={isNew}
        onChange={({ currentTarget }) => setNew(currentTarget.checked)}
      />
      <PasswordInput name="passphrase" label="Passphrase" required autoComplete="off" />
      {isNew && <PasswordInput name="again" label="The passphrase again" required autoComplete="off" />}
    </Form>
  );
}

function One({ repository }: { repository: RepositoryRow }) {
  const { name, url, error, stored, data, daysLeft } = repository;
  return (
    <section className="panel" aria-label={name}>
      <div className="head" style={{ marginBottom: 8 }}>
        <h2>{name}</h2>
        <span className="mono soft says">{url}</span>
        <Actions repository={repository} />
      </div>
      {error && <p className="tone-bad">{error.message}</p>}
      <Figures
        of={[
          ['Stored', stored === undefined ? 'not known yet' : formatBytes(stored)],
          ['Data', data === undefined ? '–' : formatBytes(data)],
          ['Ratio', formatRatio(data, stored)],
          ['Points', repository.points.toLocaleString('en')],
          ['Machines', repository.machines.toLocaleString('en')],
          ['Newest', <Time at={repository.newest} />],
          ['Free', repository.freeBytes === undefined ? 'not told' : formatBytes(repository.freeBytes)],
          ['Days left', daysLeft === undefined ? 'not known yet' : Math.floor(daysLeft).toLocaleString('en')],
          ['Checked', <Time at={repository.checked} none="never" />],
          ['Looked at', <Time at={repository.looked} none="never" />],
        ]}
      />
      <Growth of={repository.growth} />
    </section>
  );
}

function Actions({ repository }: { repository: RepositoryRow }) {
  const { id, name } = repository;
  const mayCheck = useMay('operator');
  const mayRemove = useMay('administrator');
  const navigate = useNavigate();
  return (
    <div className="row-actions">
      <Action
        run={async () => {
          await call('refreshRepository', { path: { id } });
          await changed('listRepositories', 'listPoints');
        }}
      >
        Look now
      </Action>
      {mayCheck && (
        <Action
          run={async () => {
            const job = await runOperation('check', {}, name);
            if (job !== undefined) await navigate({ to: '/jobs/$id', params: { id: job } });
          }}
        >
          Check
        </Action>
      )}
      {mayRemove && <RepositoryLimits of={repository} />}
      {mayRemove && (
        <Action
          confirm={`Prima forgets where ${name} is and its passphrase; what it holds stays.`}
          run={async () => {
            await call('removeRepository', { path: { id } });
            await changed('listRepositories', 'listPoints', 'getOverview');
          }}
        >
          Forget
        </Action>
      )}
    </div>
  );
}
