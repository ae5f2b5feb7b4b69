/** Sessions: markers, outcomes and what a listing of them says. See "Sessions" of the format. */
import { createHash, randomBytes } from 'node:crypto';
import { liveness, ownIdentity, type ProcessIdentity, PrimaError, Semaphore } from '@prima/base';
import { type Context, getSealed, parseRecord, putRecord, putSigned } from '../context.ts';
import type { Point } from '../point.ts';
import { blobType } from '../format/blob.ts';
import type { Decided } from './outcome-catalogue.ts';
import { readOutcome } from './read-outcome.ts';

export type SessionKind = 'backup' | 'collection' | 'checkpoint' | 'read';

export interface Marker extends ProcessIdentity {
  session: string;
  kind: SessionKind;
  started: string;
  /** For `read`: the point that is pinned. */
  point?: string;
  /** For `checkpoint`: the backup session that it belongs to. */
  parent?: string;
}

export interface Outcome {
  session: string;
  /** `lost`: what it was cannot be read any more, and it was given up. See "Repair" of the format. */
  state: 'committed' | 'aborted' | 'lost';
  kind: SessionKind;
  time: string;
  why?: string;
  /** Of one that a repair made: when, and the SHA-256 of the original, where it is known. */
  mended?: { time: string; of?: string };
  /** Of a `lost` one: until when collections free nothing that it may need, ISO 8601. */
  keptUntil?: string;
  point?: Point;
  /** For a committed checkpoint: what it belongs to, and the bytes of its packs. */
  checkpoint?: { parent: string; machine?: string; bytes: number };
  /** Keys of the index segments that a collection's own replace. */
  superseded?: string[];
}

/** What the listing shows of one session. */
export interface SessionEntry {
  id: string;
  hasMarker: boolean;
  hasOutcome: boolean;
  isForgotten: boolean;
  /** The latest time in the names of its lock objects, milliseconds since 1970; 0: there are none. */
  lockedUntil: number;
  /** Newest sign of life by the store's clock, milliseconds since 1970. */
  lastSeen: number;
  /** All its keys. */
  keys: string[];
}

/** Signs of life are written this often, and missed for this long before a session is given up on. */
const beatMs = 15 * 60_000;
const leaseMs = 24 * 3_600_000;

export function newSessionId(now: number): string {
  return randomBytes(10).toString('hex') + now.toString(16).padStart(12, '0');
}

/** When a session with this id began, milliseconds since 1970. */
export function sessionTime(id: string): number {
  return Number.parseInt(id.slice(20), 16);
}

export const markerKey = (id: string) => `sessions/${id}/marker`;
export const outcomeKey = (id: string) => `sessions/${id}/outcome`;
export const mendedKey = (id: string, number: number) => `sessions/${id}/mended-${number}`;
/** An outcome, or what a repair has put in its place. */
export const isDecision = (key: string) => /\/(?:outcome|mended-\d+)$/.test(key);
export const lockKey = (id: string, until: number) =>
  `sessions/${id}/locked-${String(until).padStart(13, '0')}`;
export const forgottenKey = (id: string) => `sessions/${id}/forgotten`;

/** Orders sessions by their beginning; those of one millisecond by the rest of their ids. */
export function byBeginning(a: { id: string }, b: { id: string }): number {
  // hex digits of one length have the order of their numbers
  return compareText(a.id.slice(20), b.id.slice(20)) || compareText(a.id, b.id);
}

/** By code units, which for ids and ISO 8601 in UTC is their order, and takes a tenth of what a collation takes. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Creates the marker: from now on collections wait for this session. */
export async function beginSession(
  context: Context,
  kind: SessionKind,
  about: Pick<Marker, 'point' | 'parent'> = {},
): Promise<string> {
  if (kind !== 'read') context.keyring.signer(`beginning a ${kind}`); // who cannot sign could not end it
  const now = context.clock.now();
  const id = newSessionId(now);
  const marker: Marker = {
    session: id,
    kind,
    started: new Date(now).toISOString(),
    ...(await ownIdentity()),
    ...about,
  };
  await putRecord(context, markerKey(id), blobType.marker, marker);
  return id;
}

/**
 * Writes signs of life until stopped; failures are only logged, the next beat tries again.
 * @returns stops, and resolves when none is under way any more: one that came after its session would stay behind
 */
export function startBeats(context: Context, id: string): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const underWay = new Set<Promise<void>>();
  let count = 0;
  const beat = async (key: string) => {
    try {
      await context.store.putIfAbsent(key, new Uint8Array(0), { signal });
    } catch (error) {
      if (signal.aborted) return;
      context.logger.warn(`cannot write a sign of life of session ${id}: ${String(error)}`);
    }
  };
  const timer = setInterval(() => {
    count += 1;
    const writing = beat(`sessions/${id}/beat-${count}`).finally(() => underWay.delete(writing));
    underWay.add(writing);
  }, beatMs);
  timer.unref();
  return async () => {
    clearInterval(timer);
    stopping.abort();
    await Promise.all(underWay);
  };
}

/**
 * Removes all traces of a session without an outcome that can never get one: a reader at its end, or one that died. With
 * credentials that cannot delete they stay; a collection takes them for those of a dead reader and removes them.
 */
export async function endSession(context: Context, id: string): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of context.store.list(`sessions/${id}/beat-`)) keys.push(key);
  try {
    // the marker last: with it, whatever is left is known to be a reader's
    for (const key of [...keys, markerKey(id)]) await context.store.delete(key);
  } catch (error) {
    if (!(error instanceof PrimaError) || !['permission', 'refused'].includes(error.code)) throw error;
    context.logger.debug(`the traces of reader ${id} are left to the next collection: ${error.message}`);
  }
}

/** Deletes `key`. False when the store keeps it from being deleted: then it is left to a later collection. */
export async function deleteUnlessKept(context: Context, key: string): Promise<boolean> {
  try {
    await context.store.delete(key);
    return true;
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'refused') return false;
    throw error;
  }
}

/** `endSession` for a reader that is done. Where it may not delete, its marker counts until a collection removes it. */
export async function endReader(context: Context, id: string): Promise<void> {
  try {
    await endSession(context, id);
  } catch (error) {
    if (!(error instanceof PrimaError) || !['permission', 'refused'].includes(error.code)) throw error;
    context.logger.debug(`the marker of reader ${id} is left to the next collection: ${error.message}`);
  }
}

/**
 * Decides a session. Exactly one caller wins; the others get the winner's outcome.
 * @returns the outcome that stands, and the digest of what was stored when it is the caller's
 */
export async function decide(
  context: Context,
  outcome: Outcome,
): Promise<{ outcome: Outcome; digest?: string }> {
  const key = outcomeKey(outcome.session);
  const { result, stored } = await putSigned(context, key, blobType.outcome, outcome);
  if (result === 'created') return { outcome, digest: digestOf(stored) };
  return { outcome: (await readOutcome(context, outcome.session)).outcome };
}

/** Marks the point of a session as forgotten; false when it was already. */
export async function markForgotten(context: Context, id: string): Promise<boolean> {
  const record = { session: id, time: new Date(context.clock.now()).toISOString() };
  return (await putSigned(context, forgottenKey(id), blobType.forgotten, record)).result === 'created';
}

/** SHA-256, hex. */
export function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function readMarker(context: Context, id: string): Promise<Marker> {
  const { plain } = await getSealed(context, markerKey(id), blobType.marker);
  return parseRecord(plain, markerKey(id)) as Marker;
}

/**
 * The marker; undefined when it is gone, for its session has ended since it was listed, `unreadable` when it does not open:
 * then nobody knows whose it is, and it is waited for until it has been silent for long enough.
 */
export async function readMarkerIfThere(
  context: Context,
  id: string,
): Promise<Marker | 'unreadable' | undefined> {
  try {
    return await unlessGone(readMarker(context, id));
  } catch (error) {
    if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
    return 'unreadable';
  }
}

/** What `read` gives, or undefined when the object is not there any more. */
export async function unlessGone<T>(read: Promise<T>): Promise<T | undefined> {
  try {
    return await read;
  } catch (error) {
    if (error instanceof PrimaError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/**
 * Everything below `sessions/`, or of the session `id`, by session, oldest first. With `namesOnly`, `lastSeen` means
 * nothing.
 */
export async function listSessions(
  context: Context,
  options: { namesOnly?: boolean; id?: string } = {},
): Promise<SessionEntry[]> {
  const { id: only, ...how } = options;
  const sessions = new Map<string, SessionEntry>();
  let entry = emptyEntry('');
  for await (const { key, modified } of context.store.list(only ? `sessions/${only}/` : 'sessions/', how)) {
    const match = keyOfSession.exec(key);
    if (!match) continue;
    const [, id = '', part = '', until] = match;
    if (id !== entry.id) {
      entry = sessions.get(id) ?? emptyEntry(id);
      sessions.set(id, entry);
    }
    entry.keys.push(key);
    entry.lastSeen = Math.max(entry.lastSeen, modified);
    if (part === 'marker') entry.hasMarker = true;
    else if (isDecision(key)) entry.hasOutcome = true;
    else if (part === 'forgotten') entry.isForgotten = true;
    else if (until !== undefined) entry.lockedUntil = Math.max(entry.lockedUntil, Number(until));
  }
  return [...sessions.values()].sort(byBeginning);
}

const keyOfSession =
  /^sessions\/([0-9a-f]{32})\/(marker|outcome|mended-\d+|forgotten|beat-\d+|locked-(\d{13}))$/;

/** Whether the point is there and nobody has marked it as forgotten, not even while it is locked. */
export async function isUnforgotten(context: Context, id: string): Promise<boolean> {
  const [entry] = await listSessions(context, { namesOnly: true, id });
  return entry !== undefined && entry.hasOutcome && !entry.isForgotten;
}

function emptyEntry(id: string): SessionEntry {
  const nothing = { hasMarker: false, hasOutcome: false, isForgotten: false };
  return { id, ...nothing, lockedUntil: 0, lastSeen: 0, keys: [] };
}

export interface CommittedSession extends Decided {
  id: string;
  /** It is to be forgotten, and not locked. */
  isForgotten: boolean;
  /** Until when its point is locked, milliseconds since 1970; 0: it never was. */
  lockedUntil: number;
}

/**
 * What a session that was listed among `listed` is, with its locks. A lock has run out when both our clock and the
 * newest time of the store (where the listing has times) say so: a wrong clock keeps more, never less.
 */
export function lockStates(
  context: Context,
  listed: readonly SessionEntry[],
): (entry: SessionEntry, decided: Decided) => CommittedSession {
  const newest = listed.reduce((latest, { lastSeen }) => Math.max(latest, lastSeen), 0);
  const now = Math.min(context.clock.now(), newest || Number.POSITIVE_INFINITY);
  return ({ id, isForgotten, lockedUntil: extended }, decided) => {
    const first = Date.parse(decided.outcome.point?.lockedUntil ?? '');
    const lockedUntil = Math.max(extended, Number.isNaN(first) ? 0 : first);
    return { ...decided, id, lockedUntil, isForgotten: isForgotten && lockedUntil <= now };
  };
}

/** `point` as it is locked now. */
export function withLock(point: Point, lockedUntil: number): Point {
  return lockedUntil > 0 ? { ...point, lockedUntil: new Date(lockedUntil).toISOString() } : point;
}

/**
 * The outcomes of all decided sessions, from the catalogue or else from the store, 16 at a time; those that
 * vanish meanwhile are left out.
 * @param onDamaged told of outcomes that do not open, which are left out then; without it that is raised
 */
export async function readOutcomes(
  context: Context,
  entries: readonly SessionEntry[],
  onDamaged?: (id: string, error: PrimaError) => void,
): Promise<CommittedSession[]> {
  const limit = new Semaphore(16);
  const known = await context.catalogue.entries();
  const unlessDamaged = async (id: string) => {
    try {
      return await readOutcome(context, id);
    } catch (error) {
      if (!onDamaged || !(error instanceof PrimaError) || error.code !== 'integrity') throw error;
      onDamaged(id, error);
      return undefined;
    }
  };
  const fetched = async (id: string) => {
    const read = await limit.run(() => unlessGone(unlessDamaged(id)));
    // of one that is lost more may be known one day
    if (read && read.outcome.state !== 'lost') await context.catalogue.add(read);
    return read;
  };
  const stateOf = lockStates(context, entries);
  const decided = await Promise.all(
    entries
      .filter((entry) => entry.hasOutcome)
      .map(async (entry) => {
        const read = known.get(entry.id) ?? (await fetched(entry.id));
        return read && stateOf(entry, read);
      }),
  );
  return decided.filter((entry) => entry !== undefined);
}

/** What an undecided session is, and why it can be given up on; `why` is undefined while it may be alive. */
export async function whyDead(
  context: Context,
  entry: SessionEntry,
): Promise<{ kind: SessionKind; why: string | undefined }> {
  // the marker is there before all else, and only readers take theirs away; a late sign of life may stay behind
  const marker = entry.hasMarker ? await readMarkerIfThere(context, entry.id) : undefined;
  if (marker === undefined) return { kind: 'read', why: undefined };
  const kind = marker === 'unreadable' ? 'backup' : marker.kind;
  if (marker !== 'unreadable' && (await liveness(marker)) === 'dead') {
    return { kind, why: `its process ${marker.pid} on ${marker.host} has ended` };
  }
  const silentMs = context.clock.now() - Math.max(entry.lastSeen, sessionTime(entry.id));
  const hours = Math.round(silentMs / 3_600_000);
  return { kind, why: silentMs > leaseMs ? `no sign of life for ${hours} hours` : undefined };
}
