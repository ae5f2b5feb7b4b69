/** What is wrong for a while: told once when it begins, and where somebody waits for it, once when it has ended. */
import type { NotificationEvent } from '@prima/api/http';
import type { Clock } from '@prima/base';
import type { State } from '../state/database.ts';
import type { Happenings } from './happenings.ts';

/** One thing that is looked at. */
export interface Condition {
  event: NotificationEvent;
  /** The same as long as it is the same thing. */
  subject: string;
  /** Undefined: it is neither, and stays what it was. */
  isWrong: boolean | undefined;
  /** Told when it begins. */
  reason: string;
  /** Told when it has ended. */
  wellAgain: string;
}

export interface ConditionsParts {
  db: State['db'];
  clock: Clock;
  happenings: Happenings;
}

/**
 * Compares what stands with what was told before. What is looked at no more is forgotten without a word. Of several servers one tells.
 * @param looked all of the organisation
 */
export async function tellChanges(
  { db, clock, happenings }: ConditionsParts,
  organisation: string,
  looked: readonly Condition[],
): Promise<void> {
  const told = await db
    .selectFrom('standing_condition')
    .selectAll()
    .where('organisation_id', '=', organisation)
    .execute();
  const keyOf = ({ event, subject }: Pick<Condition, 'event' | 'subject'>) => `${event} ${subject}`;
  const known = new Set(told.map(keyOf));
  const since = new Date(clock.now()).toISOString();
  const seen = new Map(looked.map((one) => [keyOf(one), one]));
  const begun = looked.filter((one) => one.isWrong === true && !known.has(keyOf(one)));
  const ended = told.filter((row) => seen.get(keyOf(row))?.isWrong === false || !seen.has(keyOf(row)));
  if (begun.length + ended.length === 0) return;
  await db.transaction().execute(async (change) => {
    for (const { event, subject, reason } of begun) {
      const { numInsertedOrUpdatedRows = 0n } = await change
        .insertInto('standing_condition')
        .values({ organisation_id: organisation, event, subject, since })
        .onConflict((on) => on.columns(['organisation_id', 'event', 'subject']).doNothing())
        .executeTakeFirst();
      if (numInsertedOrUpdatedRows > 0n)
        await happenings.raise({ organisation, event, subject, reason }, change);
    }
    for (const { event, subject } of ended) {
      const { numDeletedRows } = await change
        .deleteFrom('standing_condition')
        .where('organisation_id', '=', organisation)
        .where('event', '=', event)
        .where('subject', '=', subject)
        .executeTakeFirst();
      const reason = seen.get(keyOf({ event, subject }))?.wellAgain;
      if (numDeletedRows > 0n && reason !== undefined)
        await happenings.raise({ organisation, event, subject, reason }, change);
    }
  });
}
