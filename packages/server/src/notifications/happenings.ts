/** What happened and needs a person: kept until all that happens together is gathered, then one message to each channel. */
import { randomUUID } from 'node:crypto';
import type { NotificationEvent } from '@prima/api/http';
import type { Clock } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import type { State } from '../state/database.ts';
import type { Tables } from '../state/tables.ts';
import { settingsOf } from './channels.ts';
import { nameOf, type Outbox } from './outbox.ts';

export interface Happening {
  organisation: string;
  event: NotificationEvent;
  /** What it happened to: a machine, a repository, what is asked for. */
  subject: string;
  /** Why; those of the same reason are told together. */
  reason: string;
}

export interface HappeningsParts {
  db: State['db'];
  clock: Clock;
  outbox: Outbox;
  /** How long the first of several waits for the others, milliseconds. */
  gatherMs: number;
}

type EventRow = Selectable<Tables['notification_event']>;

const eventsAtOnce = 10_000;
const reasonsTold = 10;
const subjectsTold = 10;

const titles: Record<NotificationEvent, string> = {
  'job-failed': 'Jobs failed',
  late: 'Machines and their promises',
  repository: 'Repositories',
  damage: 'A check found damage',
  approval: 'Somebody has to approve',
};

export class Happenings {
  readonly #parts: HappeningsParts;

  constructor(parts: HappeningsParts) {
    this.#parts = parts;
  }

  async raise({ organisation, event, subject, reason }: Happening, db = this.#parts.db): Promise<void> {
    const created = new Date(this.#parts.clock.now()).toISOString();
    await db
      .insertInto('notification_event')
      .values({
        id: randomUUID(),
        organisation_id: organisation,
        event,
        subject,
        reason,
        created,
        gathered_by: null,
      })
      .execute();
  }

  /** What has waited long enough, with all of its kind that came since, becomes messages. */
  async gather(): Promise<void> {
    const { db, clock, gatherMs } = this.#parts;
    const ripe = new Date(clock.now() - gatherMs).toISOString();
    const groups = await db
      .selectFrom('notification_event')
      .select(['organisation_id', 'event'])
      .where('gathered_by', 'is', null)
      .where('created', '<=', ripe)
      .distinct()
      .execute();
    for (const group of groups) await db.transaction().execute((change) => this.#tell(change, group));
  }

  /** Each event has one gatherer: another server that comes at the same moment finds none left. */
  async #tell(
    db: Kysely<Tables>,
    { organisation_id, event }: Pick<EventRow, 'organisation_id' | 'event'>,
  ): Promise<void> {
    const gatherer = randomUUID();
    await db
      .updateTable('notification_event')
      .set({ gathered_by: gatherer })
      .where('organisation_id', '=', organisation_id)
      .where('event', '=', event)
      .where('gathered_by', 'is', null)
      .execute();
    const events = await db
      .selectFrom('notification_event')
      .selectAll()
      .where('gathered_by', '=', gatherer)
      .orderBy('created')
      .limit(eventsAtOnce)
      .execute();
    if (events.length === 0) return;
    const organisation = await nameOf(db, organisation_id);
    const told = { event, organisation, title: titleOf(event, events), lines: linesOf(events) };
    const channels = await db
      .selectFrom('notification_channel')
      .selectAll()
      .where('organisation_id', '=', organisation_id)
      .execute();
    for (const channel of channels) {
      const { enabled, events: wanted } = settingsOf(channel);
      if (enabled && wanted.includes(event)) await this.#parts.outbox.put(db, channel, told);
    }
    await db.deleteFrom('notification_event').where('gathered_by', '=', gatherer).execute();
  }
}

function titleOf(event: NotificationEvent, events: readonly EventRow[]): string {
  const [only] = events;
  return events.length === 1 && only
    ? `${titles[event]}: ${only.subject}`
    : `${titles[event]} (${events.length})`;
}

function linesOf(events: readonly EventRow[]): string[] {
  const reasons = [...Map.groupBy(events, ({ reason }) => reason)];
  const lines = reasons.slice(0, reasonsTold).map(([reason, those]) => {
    const subjects = [...new Set(those.map(({ subject }) => subject))];
    const left = subjects.length - subjectsTold;
    const more = left > 0 ? ` and ${left} more` : '';
    return `${subjects.slice(0, subjectsTold).join(', ')}${more}: ${reason}`;
  });
  const left = reasons.length - reasonsTold;
  return left > 0 ? [...lines, `and ${left} other reasons: see the first page`] : lines;
}
