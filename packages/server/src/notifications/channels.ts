/** The channels of organisations: kept with sealed targets, tried on request. */
import { randomUUID } from 'node:crypto';
import type { NotificationChannel, NotificationTarget } from '@prima/api/http';
import { type Clock, PrimaError } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import type { Sealer } from '../accounts/sealing.ts';
import { providerId } from '../accounts/sessions.ts';
import type { Tables } from '../state/tables.ts';
import { checkLiteral } from './addresses.ts';
import { dayIn } from './digest-day.ts';
import type { Message } from './message.ts';
import { placeOf, send } from './send.ts';

export type ChannelRow = Selectable<Tables['notification_channel']>;
export type ChannelSettings = Pick<NotificationChannel, 'enabled' | 'events' | 'digest'>;

type ChangedChannel = ChannelSettings & { name: string; target?: NotificationTarget | undefined };
type NewChannel = ChangedChannel & { target: NotificationTarget };

export interface ChannelsParts {
  db: Kysely<Tables>;
  clock: Clock;
  sealer: Sealer;
}

const channelsAtMost = 50;

export class Channels {
  readonly #parts: ChannelsParts;

  constructor(parts: ChannelsParts) {
    this.#parts = parts;
  }

  async list(organisation: string): Promise<NotificationChannel[]> {
    const { db } = this.#parts;
    const rows = await db
      .selectFrom('notification_channel')
      .selectAll()
      .where('organisation_id', '=', organisation)
      .orderBy('name')
      .execute();
    const waiting = await db
      .selectFrom('notification_message')
      .groupBy('channel_id')
      .select(['channel_id', (is) => is.fn.countAll().as('count')])
      .execute();
    return rows.map((row) =>
      channelDto(row, Number(waiting.find(({ channel_id }) => channel_id === row.id)?.count ?? 0)),
    );
  }

  /** Raises `exists`, `usage`, `forbidden`. */
  async add(organisation: string, body: NewChannel): Promise<NotificationChannel> {
    const { db, clock } = this.#parts;
    const { name, target, ...settings } = body;
    const before = await this.list(organisation);
    checkName(before, name);
    if (before.length >= channelsAtMost)
      throw new PrimaError('refused', `there are ${channelsAtMost} channels; remove one first`);
    const id = randomUUID();
    const row: ChannelRow = {
      id,
      organisation_id: organisation,
      name,
      settings: JSON.stringify(settings),
      ...this.#targetOf(organisation, id, target),
      created: new Date(clock.now()).toISOString(),
      digest_day: this.#digestDay(settings),
      last_sent: null,
      last_error: null,
    };
    await db.insertInto('notification_channel').values(row).execute();
    return channelDto(row, 0);
  }

  /** Raises `not-found`, `exists`, `usage`, `forbidden`. */
  async change(organisation: string, id: string, body: ChangedChannel): Promise<NotificationChannel> {
    const { name, target, ...settings } = body;
    await this.get(organisation, id);
    checkName(
      (await this.list(organisation)).filter((one) => one.id !== id),
      name,
    );
    await this.#parts.db
      .updateTable('notification_channel')
      .set({
        name,
        settings: JSON.stringify(settings),
        digest_day: this.#digestDay(settings),
        ...(target ? { ...this.#targetOf(organisation, id, target), last_error: null } : {}),
      })
      .where('id', '=', id)
      .execute();
    const changed = (await this.list(organisation)).find((one) => one.id === id);
    if (changed) return changed;
    throw new PrimaError('not-found', 'the channel was removed meanwhile');
  }

  async remove(organisation: string, id: string): Promise<ChannelRow> {
    const row = await this.get(organisation, id);
    await this.#parts.db.deleteFrom('notification_channel').where('id', '=', id).execute();
    return row;
  }

  /** Raises `not-found`, also for another organisation's. */
  async get(organisation: string, id: string): Promise<ChannelRow> {
    const row = await this.#parts.db
      .selectFrom('notification_channel')
      .selectAll()
      .where('id', '=', id)
      .where('organisation_id', '=', organisation)
      .executeTakeFirst();
    if (row) return row;
    throw new PrimaError('not-found', 'there is no such channel');
  }

  /** Once; notes how it went. Raises `remote`, `timeout`, `forbidden`. */
  async deliver(row: ChannelRow, message: Message, signal: AbortSignal): Promise<void> {
    const { clock, sealer } = this.#parts;
    const target = JSON.parse(sealer.open(row.target, about(row.id))) as NotificationTarget;
    const reachesAll = row.organisation_id === providerId;
    await send(target, message, { reachesAll, signal, now: clock.now() });
    const last_sent = new Date(clock.now()).toISOString();
    await this.#note(row.id, { last_sent, last_error: null });
  }

  async noteFailure(id: string, message: string): Promise<void> {
    const time = new Date(this.#parts.clock.now()).toISOString();
    await this.#note(id, { last_error: JSON.stringify({ time, message }) });
  }

  async #note(id: string, change: Partial<Pick<ChannelRow, 'last_sent' | 'last_error'>>): Promise<void> {
    await this.#parts.db.updateTable('notification_channel').set(change).where('id', '=', id).execute();
  }

  #targetOf(
    organisation: string,
    id: string,
    target: NotificationTarget,
  ): Pick<ChannelRow, 'kind' | 'place' | 'target'> {
    if (organisation !== providerId) checkPublic(target);
    const sealed = this.#parts.sealer.seal(JSON.stringify(target), about(id));
    return { kind: target.kind, place: placeOf(target), target: sealed };
  }

  /** One whose hour has passed today begins tomorrow. */
  #digestDay({ digest }: ChannelSettings): string | null {
    if (!digest) return null;
    const { day, hour } = dayIn(digest.zone, this.#parts.clock.now());
    return hour >= digest.hour ? day : null;
  }
}

export const settingsOf = ({ settings }: Pick<ChannelRow, 'settings'>): ChannelSettings =>
  JSON.parse(settings) as ChannelSettings;

const about = (id: string): string => `notification-channel ${id}`;

function checkName(others: readonly { name: string }[], name: string): void {
  if (others.some((one) => one.name === name))
    throw new PrimaError('exists', `there is a channel ${name} already; choose another name`);
}

/** Names are looked at when they are connected to, for they can change. */
function checkPublic(target: NotificationTarget): void {
  if (target.kind === 'email') return checkLiteral(target.host);
  const { hostname, protocol } = new URL(target.url);
  if (protocol !== 'https:')
    throw new PrimaError('usage', `${hostname} is reached over https alone; write its address so`);
  return checkLiteral(hostname);
}

function channelDto(row: ChannelRow, waiting: number): NotificationChannel {
  return {
    ...settingsOf(row),
    id: row.id,
    name: row.name,
    kind: row.kind,
    at: row.place,
    created: row.created,
    waiting,
    ...(row.last_sent === null ? {} : { lastSent: row.last_sent }),
    ...(row.last_error === null
      ? {}
      : { lastError: JSON.parse(row.last_error) as NonNullable<NotificationChannel['lastError']> }),
  };
}
