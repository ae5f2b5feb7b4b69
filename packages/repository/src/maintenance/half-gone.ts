/**
 * Sessions of which a collection that died has removed the outcome, and not come to the mark of forgetting. Without an outcome
 * they look as if they were running; and who may only create objects can make a running one look like these.
 */
import type { Context } from '../context.ts';
import { loggedSessions } from '../session/log-chain.ts';
import type { SessionEntry } from '../session/sessions.ts';
import { isVerified } from './survey.ts';

/** Whether the session was forgotten for certain: by a mark of who may sign, or by what the log says. */
export async function isHalfGone(
  context: Context,
  { id, isForgotten, hasOutcome }: SessionEntry,
): Promise<boolean> {
  if (!isForgotten || hasOutcome) return false;
  if (await isVerified(context, id)) return true;
  const { entries } = await context.log.readAll();
  return loggedSessions(entries).get(id)?.event === 'forgotten';
}
