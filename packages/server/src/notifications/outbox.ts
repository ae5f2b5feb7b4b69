/** What is still to be delivered: it outlives the server, is tried by one server at a time, again after growing pauses, and given up in the end. */
import { randomUUID } from 'node:crypto';
import { type Clock, type Logger, PrimaError, toPrimaError } from '@prima/base';
import type { Kysely, Selectable } from 'kysely';
import type { Tables } from '../state/tables.ts';
import type { ChannelRow, Channels } from './channels.ts';
import type { Message } from './message.ts';
import { deadlineMs } from './send.ts';

type MessageRow = Selectable<Tables['notification_message']>;

export interface OutboxParts {
  db: Kysely<Tables>;
  clock: Clock;
  logger: Logger;
  channels: Channels;
  /** Before the second attempt, milliseconds; each later pause is four times as long, up to six hours. */
  pauseMs: number;
}

/** With pauses from ten seconds: for more than a day. */
const attemptsAtMost = 12;
const pauseAtMostMs = 6 * 3_600_000;
const waitingAtMost = 500;
const atOnce = 8;

export class Outbox {
  readonly #parts: OutboxParts;

  constructor(parts: OutboxParts) {
    this.#parts = parts;
  }

  /** For a channel; what is too much for it is left out, and said there. */
  async put(
    db: Kysely<Tables>,
    channel: Pick<ChannelRow, 'id'>,
    message: Omit<Message, 'id' | 'time'>,
  ): Promise<void> {
    const { count } = await db
      .selectFrom('notification_message')
      .where('channel_id', '=', channel.id)
      .select((is) => is.fn.countAll().as('count'))
      .executeTakeFirstOrThrow();
    const time = this.#now();
    if (Number(count) >= waitingAtMost) {
      const text = `${waitingAtMost} messages wait: later ones are left out until some are delivered`;
      await db
        .updateTable('notification_channel')
        .set({ last_error: JSON.stringify({ time, message: text }) })
        .where('id', '=', channel.id)
        .execute();
      return;
    }
    const whole: Message = { id: randomUUID(), time, ...message };
    await db
      .insertInto('notification_message')
      .values({
        id: whole.id,
        channel_id: channel.id,
        content: JSON.stringify(whole),
        created: time,
        due: time,
        attempt: 0,
        claimed_until: null,
      })
      .execute();
  }

  /** Tries what is due, several channels side by side, the messages of each in their order. */
  async deliver(signal: AbortSignal): Promise<void> {
    const now = this.#now();
    const rows = await this.#parts.db
      .selectFrom('notification_message')
      .selectAll()
      .where('due', '<=', now)
      .where((is) => is.or([is('claimed_until', 'is', null), is('claimed_until', '<', now)]))
      .orderBy('due')
      .orderBy('created')
      .limit(waitingAtMost)
      .execute();
    const byChannel = Map.groupBy(rows, ({ channel_id }) => channel_id);
    const queues = [...byChannel.values()];
    const worker = async () => {
      for (let queue = queues.pop(); queue; queue = queues.pop()) await this.#deliverAll(queue, signal);
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
  }

  /** Until one fails: the others of the channel would, too. */
  async #deliverAll(rows: readonly MessageRow[], signal: AbortSignal): Promise<void> {
    for (const row of rows) {
      if (signal.aborted || !(await this.#claim(row))) return;
      if (!(await this.#try(row, signal))) return;
    }
  }

  async #claim({ id, attempt }: MessageRow): Promise<boolean> {
    const now = this.#now();
    const { numUpdatedRows } = await this.#parts.db
      .updateTable('notification_message')
      .set({ claimed_until: this.#now(3 * deadlineMs), attempt: attempt + 1 })
      .where('id', '=', id)
      .where('attempt', '=', attempt)
      .where('due', '<=', now)
      .where((is) => is.or([is('claimed_until', 'is', null), is('claimed_until', '<', now)]))
      .executeTakeFirst();
    return numUpdatedRows > 0n;
  }

  /** @returns whether it is done with, one way or the other */
  async #try(row: MessageRow, signal: AbortSignal): Promise<boolean> {
    const { db, channels, logger } = this.#parts;
    const channel = await db
      .selectFrom('notification_channel')
      .selectAll()
      .where('id', '=', row.channel_id)
      .executeTakeFirst();
    if (!channel) return true; // removed meanwhile, and the message with it
    try {
      await channels.deliver(channel, JSON.parse(row.content) as Message, signal);
      await this.#remove(row);
      return true;
    } catch (error) {
      if (signal.aborted) {
        await this.#later(row, { attempt: row.attempt, ms: 0 });
        return false;
      }
      const { message } = toPrimaError(error, `telling ${channel.name}`);
      const isLast = row.attempt + 1 >= attemptsAtMost;
      const end = isLast ? `; given up after ${attemptsAtMost} attempts` : '';
      logger.warn(`the notification channel ${channel.name}: ${message}${end}`);
      await channels.noteFailure(channel.id, `${message}${end}`);
      if (isLast) await this.#remove(row);
      else await this.#later(row, { attempt: row.attempt + 1, ms: this.#pauseAfter(row.attempt + 1) });
      return isLast;
    }
  }

  #pauseAfter(attempt: number): number {
    return Math.min(this.#parts.pauseMs * 4 ** (attempt - 1), pauseAtMostMs);
  }

  /** The channel's others wait as long, so that one that is away is left alone, and takes no room among what is due. */
  async #later(
    { id, channel_id }: MessageRow,
    { attempt, ms }: { attempt: number; ms: number },
  ): Promise<void> {
    const due = this.#now(ms);
    const { db } = this.#parts;
    await db
      .updateTable('notification_message')
      .set({ claimed_until: null, attempt, due })
      .where('id', '=', id)
      .execute();
    await db
      .updateTable('notification_message')
      .set({ due })
      .where('channel_id', '=', channel_id)
      .where('due', '<', due)
      .where('claimed_until', 'is', null)
      .execute();
  }

  async #remove({ id }: MessageRow): Promise<void> {
    await this.#parts.db.deleteFrom('notification_message').where('id', '=', id).execute();
  }

  #now(later = 0): string {
    return new Date(this.#parts.clock.now() + later).toISOString();
  }
}

/** Raises what keeps it from being sent. */
export async function sendTest(
  { db, clock, channels }: Pick<OutboxParts, 'db' | 'clock' | 'channels'>,
  channel: ChannelRow,
  signal: AbortSignal,
): Promise<void> {
  const message: Message = {
    id: randomUUID(),
    event: 'test',
    time: new Date(clock.now()).toISOString(),
    organisation: await nameOf(db, channel.organisation_id),
    title: 'A test of this channel',
    lines: ['What needs a person is told here from now on.'],
  };
  try {
    await channels.deliver(channel, message, signal);
  } catch (error) {
    const failure = toPrimaError(error, `telling ${channel.name}`);
    await channels.noteFailure(channel.id, failure.message);
    throw failure;
  }
}

export async function nameOf(db: Kysely<Tables>, organisation: string): Promise<string> {
  const row = await db
    .selectFrom('organisation')
    .select('name')
    .where('id', '=', organisation)
    .executeTakeFirst();
  if (row) return row.name;
  throw new PrimaError('not-found', 'the organisation was removed meanwhile');
}
