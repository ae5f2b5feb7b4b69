/** What stands for an outcome that nobody knows any more: see "Repair" of the format. */
import type { Context } from '../context.ts';
import type { RepairOptions } from '../contract.ts';
import { parsePackKey } from '../format/pack.ts';
import { readSegment } from '../index/repository-index.ts';
import type { LoggedSession } from '../session/log-chain.ts';
import { isUnreadable } from '../session/read-outcome.ts';
import {
  type Outcome,
  readMarkerIfThere,
  type SessionEntry,
  type SessionKind,
  sessionTime,
} from '../session/sessions.ts';

const defaultKeepMs = 14 * 24 * 3_600_000;

export interface LostSession {
  id: string;
  entry: SessionEntry | undefined;
  log: LoggedSession | undefined;
  /** Now, ISO 8601. */
  time: string;
  options: RepairOptions;
}

/** @returns besides whether it is, or may have been, a restore point */
export async function lostOutcome(
  context: Context,
  lost: LostSession,
): Promise<{ outcome: Outcome; isPoint: boolean }> {
  const { id, entry, log, time } = lost;
  const outcome = {
    session: id,
    time,
    why: 'it could not be read any more, and was given up',
    mended: { time },
  };
  const [of] = log?.outcomes ?? [];
  const mended = { time, ...(of !== undefined && { of }) };
  const kind = log ? 'backup' : await kindOf(context, entry);
  const segments = await segmentsOf(context, id);
  // what committed keeps its marker while it is needed, and collections leave nothing but the outcome of what did not
  if (!log && kind === undefined && segments.length === 0)
    return { outcome: { ...outcome, state: 'aborted', kind: 'backup' }, isPoint: false };
  if (kind === 'collection') {
    const superseded = await outdatedSegments(context, id);
    return { outcome: { ...outcome, state: 'lost', kind, superseded }, isPoint: false };
  }
  const isPoint = kind !== 'checkpoint' && log?.event !== 'forgotten';
  const until = isPoint ? endOfKeeping(context, lost) : 0;
  const keptUntil = until > context.clock.now() ? { keptUntil: new Date(until).toISOString() } : {};
  return { outcome: { ...outcome, mended, state: 'lost', kind: kind ?? 'backup', ...keptUntil }, isPoint };
}

/** A lock that it had, as far as anything tells, goes before what the person wants. */
function endOfKeeping({ clock, lockMs }: Context, { entry, options }: LostSession): number {
  const now = clock.now();
  const own = lockMs === undefined ? 0 : now + lockMs;
  return Math.max(now + (options.keepMs ?? defaultKeepMs), own, entry?.lockedUntil ?? 0);
}

async function kindOf(context: Context, entry: SessionEntry | undefined): Promise<SessionKind | undefined> {
  if (!entry?.hasMarker) return undefined;
  const marker = await readMarkerIfThere(context, entry.id);
  return marker === undefined || marker === 'unreadable' ? 'backup' : marker.kind;
}

async function segmentsOf(context: Context, session: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of context.store.list(`index/${session}-`, { namesOnly: true })) keys.push(key);
  return keys;
}

/** Segments that the collection must have replaced, if it had come to its end: packs that they name are gone. */
async function outdatedSegments(context: Context, collection: string): Promise<string[]> {
  const packs = new Set<string>();
  for await (const { key } of context.store.list('packs/', { namesOnly: true })) {
    const pack = parsePackKey(key);
    if (pack) packs.add(pack.name);
  }
  const outdated: string[] = [];
  for await (const { key } of context.store.list('index/', { namesOnly: true })) {
    if (sessionTime(key.slice(6, 38)) >= sessionTime(collection)) continue;
    try {
      const segment = await readSegment(context, key);
      if (segment.packs.some(({ name }) => !packs.has(name))) outdated.push(key);
    } catch (error) {
      if (!isUnreadable(error)) throw error; // what does not open does not count anyway
    }
  }
  return outdated;
}
