/** The paths of the panel. Those below the shell need somebody who is signed in. */
import { createRootRoute, createRoute, createRouter, Outlet, redirect } from '@tanstack/react-router';
import { queries, sessionQuery } from './client.ts';
import { AuditPage } from './pages/audit.tsx';
import { ApprovalsPage } from './pages/approvals.tsx';
import { HostsPage } from './pages/hosts.tsx';
import { JobPage } from './pages/job.tsx';
import { JobsPage } from './pages/jobs.tsx';
import { LinkPage } from './pages/link.tsx';
import { MachinePage } from './pages/machine.tsx';
import { MachinesPage } from './pages/machines.tsx';
import { OrganisationsPage } from './pages/organisations.tsx';
import { OverviewPage } from './pages/overview.tsx';
import { PointPage } from './pages/point.tsx';
import { PointsPage } from './pages/points.tsx';
import { PoliciesPage } from './pages/policies.tsx';
import { ProviderReturnPage } from './pages/provider-return.tsx';
import { RepositoriesPage } from './pages/repositories.tsx';
import { RestorePage } from './pages/restore.tsx';
import { SettingsPage } from './pages/settings.tsx';
import { SignInPage } from './pages/sign-in.tsx';
import { TokensPage } from './pages/tokens.tsx';
import { UsersPage } from './pages/users.tsx';
import { Problem } from './parts/problem.tsx';
import { Shell } from './parts/shell.tsx';

const root = createRootRoute({
  component: Outlet,
  errorComponent: ({ error, reset }) => (
    <div className="door">
      <Problem error={error} retry={reset} />
    </div>
  ),
  notFoundComponent: () => (
    <main className="door">
      <h1>There is nothing here</h1>
      <p>
        <a href="/">Go to the overview</a>
      </p>
    </main>
  ),
});

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  component: Shell,
  beforeLoad: async ({ location }) => {
    const session = await queries.ensureQueryData(sessionQuery);
    if (!session) throw redirect({ to: '/sign-in', search: { from: location.href } });
  },
});

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  component: SignInPage,
  validateSearch: ({ from }: Record<string, unknown>): { from?: string | undefined } => ({
    from: text(from),
  }),
});
const providerReturn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in/provider',
  component: ProviderReturnPage,
});
const link = createRoute({ getParentRoute: () => root, path: '/link/$secret', component: LinkPage });

const below = { getParentRoute: () => shell };

const tree = root.addChildren([
  signIn,
  providerReturn,
  link,
  shell.addChildren([
    createRoute({ ...below, path: '/', component: OverviewPage }),
    createRoute({ ...below, path: '/machines', component: MachinesPage }),
    createRoute({ ...below, path: '/machines/$host/$machine', component: MachinePage }),
    createRoute({
      ...below,
      path: '/restore',
      component: RestorePage,
      validateSearch: (search: Record<string, unknown>): RestoreSearch => ({
        machine: text(search['machine']),
        point: text(search['point']),
        repository: text(search['repository']),
      }),
    }),
    createRoute({ ...below, path: '/points', component: PointsPage }),
    createRoute({ ...below, path: '/points/$repository/$point', component: PointPage }),
    createRoute({ ...below, path: '/policies', component: PoliciesPage }),
    createRoute({ ...below, path: '/jobs', component: JobsPage }),
    createRoute({ ...below, path: '/jobs/$id', component: JobPage }),
    createRoute({ ...below, path: '/repositories', component: RepositoriesPage }),
    createRoute({ ...below, path: '/hosts', component: HostsPage }),
    createRoute({ ...below, path: '/approvals', component: ApprovalsPage }),
    createRoute({ ...below, path: '/users', component: UsersPage }),
    createRoute({ ...below, path: '/tokens', component: TokensPage }),
    createRoute({ ...below, path: '/audit', component: AuditPage }),
    createRoute({ ...below, path: '/organisations', component: OrganisationsPage }),
    createRoute({ ...below, path: '/settings', component: SettingsPage }),
  ]),
]);

/** What the wizard is entered with. */
interface RestoreSearch {
  machine?: string | undefined;
  point?: string | undefined;
  repository?: string | undefined;
}

export const router = createRouter({ routeTree: tree, defaultPreload: false, scrollRestoration: true });

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
