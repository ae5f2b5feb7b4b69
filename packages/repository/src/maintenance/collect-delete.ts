/**
 * The last step of a collection: what nobody needs is deleted, in the order of step 6 of "Collection" in the format. What
 * the store keeps stays, and a later collection goes on with it.
 */
import { forEachBounded } from '@prima/base';
import type { Context } from '../context.ts';
import { packKey } from '../format/pack.ts';
import { retainSession } from '../session/retaining.ts';
import {
  deleteUnlessKept,
  forgottenKey,
  isDecision,
  outcomeKey,
  type SessionEntry,
} from '../session/sessions.ts';
import { retainedUntil } from './kept-by-store.ts';
import { deleteSpentLists } from './spare-damaged.ts';
import type { Survey } from './survey.ts';

/** Objects that are deleted at once. */
const concurrency = 8;

export const condemnedKey = (session: string): string => `condemned/${session}`;

export interface Deletion {
  /** The collection, whose outcome is committed. */
  session: string;
  /** What it found when it marked again. */
  now: Survey;
  /** Segments that its own replace. */
  superseded: readonly string[];
  /** Names of the packs that go. */
  packs: readonly string[];
  /** Keys of the packs that it wrote. */
  written: readonly string[];
}

/** @returns how many sessions are gone */
export async function deleteCollected(context: Context, deletion: Deletion): Promise<number> {
  const { session, now, superseded, packs, written } = deletion;
  await deleteStraySegments(context, session, now); // before the segments because of which they do not count
  await forEachBounded(superseded, concurrency, async (key) => void (await deleteUnlessKept(context, key)));
  let keptUntil = 0;
  await forEachBounded(packs, concurrency, async (name) => {
    for (const kind of ['data', 'meta'] as const) {
      const key = packKey(kind, name);
      if (await deleteUnlessKept(context, key)) continue;
      keptUntil = Math.max(keptUntil, (await retainedUntil(context, key)) ?? 0);
    }
  });
  // a backup has locked what was condemned: of its blobs the copies count now
  await retainSession(context, session, keptUntil, written);
  await deleteSpentLists(context, now, new Set(packs));
  await deleteCondemned(context, session, now); // before the outcomes that tell whose lists may go
  return await deleteSessions(context, deletion);
}

/** This collection's list and those of collections that are over; never that of one that began meanwhile. */
async function deleteCondemned(context: Context, own: string, now: Survey): Promise<void> {
  for await (const { key } of context.store.list('condemned/')) {
    const session = key.slice('condemned/'.length);
    if (session === own || now.outcomes.has(session)) await deleteUnlessKept(context, key);
  }
}

/**
 * Segments of aborted sessions, and those that an earlier collection replaced but did not come to delete. That
 * one is not in the index is no reason: a list may have lacked it.
 */
async function deleteStraySegments(context: Context, own: string, now: Survey): Promise<void> {
  const outcomes = [...now.outcomes.values()].map(({ outcome }) => outcome);
  const replaced = new Set(outcomes.flatMap(({ superseded }) => superseded ?? []));
  for await (const { key } of context.store.list('index/')) {
    const session = key.slice(6, 38);
    const isAborted = now.outcomes.get(session)?.outcome.state === 'aborted';
    if (session !== own && (isAborted || replaced.has(key))) await deleteUnlessKept(context, key);
  }
}

async function deleteSessions(
  context: Context,
  { session: own, now, superseded }: Pick<Deletion, 'session' | 'now' | 'superseded'>,
): Promise<number> {
  // what either list shows is there: an outcome that is removed too early takes its segments with it
  const left = new Set(now.index.segments).difference(new Set(superseded));
  const withSegments = new Set([...left].map((key) => key.slice(6, 38)));
  for await (const { key } of context.store.list('index/')) withSegments.add(key.slice(6, 38));
  const forgotten = new Set(now.forgotten.map(({ id }) => id));
  let removed = 0;
  for (const entry of now.sessions) {
    if (entry.id === own) continue;
    const order = orderOf(entry, now, { forgotten, withSegments });
    if (order && (await deleteKeys(context, order))) removed += 1;
  }
  return removed;
}

/** What of a session goes, and in which order; undefined when it stays. */
interface Order {
  first?: string;
  keys: readonly string[];
  last?: string;
}

function orderOf(
  { id, keys, isForgotten, hasOutcome }: SessionEntry,
  now: Survey,
  { forgotten, withSegments }: { forgotten: ReadonlySet<string>; withSegments: ReadonlySet<string> },
): Order | undefined {
  const decided = now.outcomes.get(id)?.outcome;
  // a collection that died here before this one has left the mark of what it had begun to remove
  const isHalfGone = isForgotten && !hasOutcome;
  // the outcome first: at no moment is there a point that is not forgotten
  if (forgotten.has(id) || isHalfGone) return { first: outcomeKey(id), keys, last: forgottenKey(id) };
  if (keys.every((key) => key.includes('/beat-'))) return { keys }; // a reader's that came too late
  const isSpent = decided?.kind === 'collection' && decided.state === 'committed' && !withSegments.has(id);
  // the outcome last: without it the marker would be that of a session that may still commit
  if (isSpent) return { keys, last: outcomeKey(id) };
  if (decided?.state !== 'aborted') return undefined;
  const others = keys.filter((key) => !isDecision(key)); // its outcome fences a late writer off
  return others.length === 0 ? undefined : { keys: others };
}

/** As far as the store lets go of them: the next collection goes on. True when all are gone. */
async function deleteKeys(context: Context, { first, keys, last }: Order): Promise<boolean> {
  if (first !== undefined && !(await deleteUnlessKept(context, first))) return false;
  let isAllGone = true;
  for (const key of keys) {
    if (key !== first && key !== last && !(await deleteUnlessKept(context, key))) isAllGone = false;
  }
  if (isAllGone && last !== undefined) isAllGone = await deleteUnlessKept(context, last);
  return isAllGone;
}
