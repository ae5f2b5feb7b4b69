import type { Approval } from '@prima/api/http';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { call, changed, resource, useMay, useSession } from '../client.ts';
import { Action } from '../parts/action.tsx';
import { Empty } from '../parts/empty.tsx';
import { Loaded, Page } from '../parts/page.tsx';
import { Time } from '../parts/time.tsx';

export function ApprovalsPage() {
  const query = useQuery({ ...resource('listApprovals'), refetchInterval: 15_000 });
  return (
    <Page title="Approvals" says="Deletions that a second person has to agree to.">
      <Loaded query={query}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty title="Nothing waits">When somebody asks to forget points, it is decided here.</Empty>
          ) : (
            items.map((approval) => <One key={approval.id} approval={approval} />)
          )
        }
      </Loaded>
    </Page>
  );
}

function One({ approval }: { approval: Approval }) {
  const { user } = useSession();
  const may = useMay('administrator');
  const decide = (approve: boolean) => async () => {
    await call('decideApproval', { path: { id: approval.id }, body: { approve } });
    await changed('listApprovals', 'getOverview', 'listJobs');
  };
  const isOpen = approval.state === 'waiting';
  return (
    <section className="panel" aria-label={approval.summary}>
      <strong>{approval.summary}</strong>
      <p className="soft">
        {approval.requestedBy} asked <Time at={approval.requested} /> · {approval.state}
        {approval.decidedBy ? ` by ${approval.decidedBy}` : ''}
        {isOpen && (
          <>
            {' '}
            · ends <Time at={approval.expires} />
          </>
        )}{' '}
        {approval.job !== undefined && (
          <Link to="/jobs/$id" params={{ id: approval.job }}>
            its job
          </Link>
        )}
      </p>
      {isOpen && may && approval.requestedBy !== user.name && (
        <div className="row-actions">
          <Action confirm={`${approval.summary}: this cannot be taken back.`} run={decide(true)}>
            Approve
          </Action>
          <Action run={decide(false)}>Refuse</Action>
        </div>
      )}
    </section>
  );
}
