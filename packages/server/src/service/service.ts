/** All that the server is, without its sockets: state, people, jobs, policies, and what is known of hosts and repositories. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, type Logger, systemClock, toPrimaError } from '@prima/base';
import { AuditLog } from '../accounts/audit.ts';
import { Identities } from '../accounts/identities.ts';
import { IdentityProvider } from '../accounts/identity-provider.ts';
import { Members } from '../accounts/members.ts';
import { openSealer, type Sealer } from '../accounts/sealing.ts';
import { providerId, Sessions } from '../accounts/sessions.ts';
import { Attempts } from '../accounts/sign-in.ts';
import { JobRunner } from '../jobs/job-runner.ts';
import { JobStore } from '../jobs/job-store.ts';
import { Notifications, type NotificationTimes } from '../notifications/notifications.ts';
import { openState, type State } from '../state/database.ts';
import { Aftermath } from './aftermath.ts';
import { Catalogue } from './catalogue.ts';
import { Inventory } from './inventory.ts';
import { Policies } from './policies.ts';
import { afterAbandoned } from './policy-commands.ts';
import { defaultSettings } from './settings.ts';
import { secretOfRepository, Tenants } from './tenants.ts';
import { Ticker } from './ticker.ts';
import { mayBeginAgain, work } from './work.ts';
import { Workers } from './workers.ts';

export interface ServiceOptions {
  home: string;
  /** A file's path or `postgres://…`; default a file in the home folder. */
  database?: string;
  logger: Logger;
  clock?: Clock;
  /** Jobs that run at the same time. Default 4. */
  atOnce?: number;
  /** The server's own address, as browsers have it. */
  publicUrl?: string;
  notificationTimes?: NotificationTimes;
}

export interface Service {
  state: State;
  clock: Clock;
  logger: Logger;
  sealer: Sealer;
  audit: AuditLog;
  sessions: Sessions;
  members: Members;
  attempts: Attempts;
  identities: Identities;
  identityProvider: IdentityProvider;
  tenants: Tenants;
  catalogue: Catalogue;
  inventory: Inventory;
  workers: Workers;
  aftermath: Aftermath;
  policies: Policies;
  notifications: Notifications;
  jobs: JobStore;
  runner: JobRunner;
  /** Once, while nobody has an account: the page where the first one is made. */
  firstLink?: string;
  /** `runner` first, so that streams of its jobs end. */
  close(): Promise<void>;
}

const defaultAtOnce = 4;

/** Opens the state, adopts what a server before left, and begins to work. */
export async function openService(options: ServiceOptions): Promise<Service> {
  const { home, logger, clock = systemClock, atOnce = defaultAtOnce } = options;
  await mkdir(home, { recursive: true, mode: 0o700 });
  const sealer = await openSealer(join(home, 'server.key'));
  const state = await openState(options.database ?? join(home, 'server.sqlite'), {
    onLost: (error) => logger.warn(`a connection to the database was lost: ${error.message}`),
  });
  try {
    const { db } = state;
    const sessions = new Sessions(db, clock);
    const members = new Members({ db, clock, sessions });
    const tenants = new Tenants({ db, home, sealer, logger });
    const catalogue = new Catalogue({ db, clock, tenants });
    const inventory = new Inventory({ db, clock, tenants });
    const jobs = new JobStore(state, clock, sealer);
    const known = { db, clock, logger, store: jobs, tenants, catalogue, inventory };
    const notifications = new Notifications({ ...known, state, sealer, times: options.notificationTimes });
    const aftermath = new Aftermath({ ...known, raise: (happening) => notifications.raise(happening) });
    const runner: JobRunner = new JobRunner({
      store: jobs,
      clock,
      logger,
      limits: { atOnce },
      run: (job, how) => work({ db, store: jobs, tenants }, job, how),
      mayBeginAgain,
      abandoned: (job, { state, onEvent }) => afterAbandoned(db, job, { outcome: state, onEvent }),
      ended: (job) => aftermath.of(job).then(() => runner.wake()),
    });
    const policies = new Policies({ ...known, wake: () => runner.wake() });
    const audit = new AuditLog(db, clock);
    const firstLink = await prepareFirst(state, members);
    await checkKey({ db, sealer, logger, home });
    const ticker = new Ticker({ ...known, policies });
    await runner.start();
    ticker.start();
    notifications.start();
    return {
      state,
      clock,
      logger,
      sealer,
      audit,
      sessions,
      members,
      attempts: new Attempts(clock),
      identities: new Identities({ db, clock, audit, members }),
      identityProvider: new IdentityProvider({ db, clock, sealer, publicUrl: options.publicUrl }),
      tenants,
      catalogue,
      inventory,
      workers: new Workers({ db, clock, tenants }),
      aftermath,
      policies,
      notifications,
      jobs,
      runner,
      ...(firstLink === undefined ? {} : { firstLink }),
      close: async () => {
        await ticker.close();
        await runner.close();
        await notifications.close();
        await tenants.close();
        await state.close();
      },
    };
  } catch (error) {
    await state.close();
    throw toPrimaError(error, 'starting the server');
  }
}

/** A key that is another one than the secrets were sealed with is said at once, not by the first backup in the night. */
async function checkKey(
  parts: Pick<Service, 'sealer' | 'logger'> & { db: State['db']; home: string },
): Promise<void> {
  const { db, sealer, logger, home } = parts;
  const row = await db.selectFrom('repository').select(['id', 'secret']).limit(1).executeTakeFirst();
  if (!row) return;
  try {
    sealer.open(row.secret, secretOfRepository(row.id));
  } catch (error) {
    const { message } = toPrimaError(error, 'opening a stored secret');
    logger.error(
      `${message}: put back ${join(home, 'server.key')} as it was, or add each repository anew with its passphrase; backups cannot run until then`,
    );
  }
}

/** The first organisation, and the link to the first account while there is none. */
async function prepareFirst({ db }: State, members: Members): Promise<string | undefined> {
  const known = await db
    .selectFrom('organisation')
    .select('id')
    .where('id', '=', providerId)
    .executeTakeFirst();
  if (!known) await members.makeOrganisation(providerId, 'Main', defaultSettings);
  if (await db.selectFrom('account').select('id').limit(1).executeTakeFirst()) return undefined;
  const { path } = await members.makeLink({
    purpose: 'first-start',
    organisation_id: providerId,
    roles: ['administrator'],
  });
  return path;
}
