/**
 * What the store itself keeps for a locked point, where it can: see "Locks" of the format. Always before a lock is
 * written down comes what the point needs, so that a lock that is there has been kept by the store.
 */
import { forEachBounded, PrimaError, type Progress, throwIfAborted } from '@prima/base';
import type { Retention } from '@prima/storage';
import { type Context, idFromHex } from '../context.ts';
import type { Point, PointDisk } from '../point.ts';
import { packKey } from '../format/pack.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';
import { logKey } from './log-chain.ts';
import {
  type CommittedSession,
  isDecision,
  listSessions,
  markerKey,
  outcomeKey,
  readOutcomes,
} from './sessions.ts';

/** Requests to the store at once. */
const concurrency = 16;
const hourMs = 3_600_000;
const longestPeriodMs = 240 * hourMs;
/** Looks at where everything is before what is not there counts as missing: collections do not follow each other that fast. */
const maxLooks = 4;

export interface RetainOptions {
  /** The session that writes the point, while it has no outcome. */
  session?: string;
  signal?: AbortSignal;
  onProgress?: (progress: Progress) => void;
}

/**
 * Has the store keep what `point` needs until `until` at least: packs, segments, keys, config, the log so far. Of a point of the same machine
 * that is kept for so long already only the difference is looked at.
 * @returns until when they are kept, milliseconds since 1970; undefined where the store keeps nothing
 */
export async function retainContents(
  context: Context,
  point: Point,
  until: number,
  options: RetainOptions = {},
): Promise<number | undefined> {
  const { retention } = context.store;
  if (!retention) return undefined;
  const { session, signal, onProgress } = options;
  const before = await keptBefore(context, point, until);
  const end = before ? Date.parse(before.retainedUntil ?? '') : periodEnd(until, context.clock.now());
  const kept = new Set<string>();
  let missing = new Set<string>();
  for (let look = 1; look <= maxLooks; look += 1) {
    const keys = await keysReached(context, { point, before, session, signal });
    for await (const key of keysOfKeys(context)) keys.add(key);
    const total = kept.union(keys).size;
    const onKept = (key: string) => {
      kept.add(key);
      onProgress?.({ phase: 'locking in the store', done: kept.size, total });
    };
    const known = missing;
    missing = await retainAll(keys.difference(kept), end, { retention, signal, onKept });
    // what is gone for the first time a collection may just have moved
    if (missing.isSubsetOf(known)) break;
  }
  warnOf(context, missing);
  await retainLog(context, { until, end, retention, signal });
  return end;
}

/**
 * The log, for without its beginning no collection runs any more: from its end back to what is kept for long enough
 * already, and with it all before.
 */
async function retainLog(
  context: Context,
  how: { until: number; end: number; retention: Retention; signal: AbortSignal | undefined },
): Promise<void> {
  const { until, end, retention, signal } = how;
  const keys: string[] = [];
  for await (const { key } of context.store.list('log/', { namesOnly: true })) keys.push(key);
  keys.reverse();
  for (let at = 0; at < keys.length; at += concurrency) {
    const batch = keys.slice(at, at + concurrency);
    const kept = await Promise.all(batch.map((key) => retention.retainedUntil(key)));
    const isKept = (index: number) => (kept[index] ?? 0) >= until;
    const open = batch.filter((_, index) => !isKept(index));
    warnOf(context, await retainAll(open, end, { retention, signal }));
    if (open.length < batch.length) return;
  }
}

/** Has the store keep what says that the point is there. Does nothing where the store keeps nothing. */
export async function retainRecords(
  context: Context,
  id: string,
  until: number,
  more: readonly string[] = [],
): Promise<void> {
  const { retention } = context.store;
  if (!retention) return;
  warnOf(context, await retainAll([outcomeKey(id), markerKey(id), ...more], until, { retention }));
}

/** Until when the point of which the store keeps what it needs for the longest is kept, milliseconds since 1970; 0: there is none. */
export function longestKept(sessions: Iterable<CommittedSession>): number {
  let latest = 0;
  for (const { outcome, lockedUntil } of sessions) {
    if (!outcome.point) continue;
    latest = Math.max(latest, lockedUntil, Date.parse(outcome.point.retainedUntil ?? '') || 0);
  }
  return latest;
}

/**
 * What mends blobs that a point has lost is kept for as long as any point, for these need it from now on.
 * @param packs keys of the packs
 * @returns until when, milliseconds since 1970; 0: the store keeps nothing, or nothing any more
 */
export async function retainMending(
  context: Context,
  sessions: readonly string[],
  packs: readonly string[],
): Promise<number> {
  if (!context.store.retention) return 0;
  const decided = await readOutcomes(context, await listSessions(context, { namesOnly: true }));
  const until = longestKept(decided.filter(({ isForgotten }) => !isForgotten));
  if (until <= context.clock.now()) return 0;
  for (const [n, session] of sessions.entries())
    await retainSession(context, session, until, n === 0 ? packs : []);
  return until;
}

/** Has the store keep the segments of a session, with them its outcome once it is there, and `more`. */
export async function retainSession(
  context: Context,
  session: string,
  until: number,
  more: readonly string[] = [],
): Promise<void> {
  const { retention } = context.store;
  if (!retention || until <= context.clock.now()) return;
  const keys = [...more];
  for await (const { key } of context.store.list(`index/${session}-`)) keys.push(key);
  const outcome = outcomeKey(session);
  if (keys.length > more.length && (await context.store.stat(outcome))) keys.push(outcome);
  warnOf(context, await retainAll(keys, until, { retention }));
}

/** The keys of the log's entries on a point; none where the store keeps nothing, for it reads the whole log. */
export async function logKeysOf(context: Context, id: string): Promise<string[]> {
  if (!context.store.retention) return [];
  const { entries } = await context.log.readAll();
  return entries.filter(({ session }) => session === id).map(({ seq }) => logKey(seq));
}

/**
 * The end of the period in which `until` lies. Points of one day and the next have the same one mostly, so that not every
 * backup has to prolong the retention of everything.
 */
export function periodEnd(until: number, now: number): number {
  const quarter = Math.ceil((until - now) / 4 / hourMs) * hourMs;
  const period = Math.min(Math.max(quarter, hourMs), longestPeriodMs);
  return Math.ceil(until / period) * period;
}

/** The newest point of the machine, perhaps itself, of which the store keeps everything until `until` at least. */
async function keptBefore(context: Context, point: Point, until: number): Promise<Point | undefined> {
  const sessions = await readOutcomes(context, await listSessions(context, { namesOnly: true }));
  let best: Point | undefined;
  for (const { outcome, isForgotten } of sessions) {
    const other = outcome.point;
    if (!other || isForgotten || outcome.state !== 'committed') continue;
    if (other.machine.id !== point.machine.id || !(Date.parse(other.retainedUntil ?? '') >= until)) continue;
    if (!best || other.time >= best.time) best = other;
  }
  return best;
}

/** Packs that the point reaches and that `before` does not, the segments that speak of them, and the outcomes by which these count. */
async function keysReached(
  context: Context,
  what: {
    point: Point;
    before: Point | undefined;
    session: string | undefined;
    signal: AbortSignal | undefined;
  },
): Promise<Set<string>> {
  const { point, before, session, signal } = what;
  const loading = session === undefined ? {} : { also: session };
  const index = await RepositoryIndex.load(context, loading);
  const keys = new Set<string>();
  const seen = new Set<number>();
  const visit = (id: Uint8Array): void => {
    throwIfAborted(signal, 'locking a restore point');
    const place = index.find(id);
    // what is nowhere cannot be kept: checks tell, and the backup that finds it mends it
    if (!place || seen.has(place.pack)) return;
    seen.add(place.pack);
    keys.add(packKey(place.in.kind, place.in.name));
    for (const segment of index.segmentsOf(place.pack)) keys.add(segment);
  };
  for (const { ids } of point.files) for (const id of ids) visit(idFromHex(id));
  const tree = new PageTree(context, new BlobReader(context, index, loading));
  const others = before ? disksOf(before) : [];
  for (const disk of disksOf(point)) {
    const other = others.find(({ name, size }) => name === disk.name && size === disk.size);
    await tree.walkSince(disk.root, other?.root, disk.size, { visit, signal });
  }
  return keys.union(await outcomesOf(context, keys));
}

/** What decides the sessions of the segments among `keys`. */
async function outcomesOf(context: Context, keys: ReadonlySet<string>): Promise<Set<string>> {
  const sessions = new Set<string>();
  for (const key of keys) if (key.startsWith('index/')) sessions.add(key.slice(6, 38));
  const listed = await listSessions(context, { namesOnly: true });
  return new Set(listed.flatMap((entry) => (sessions.has(entry.id) ? entry.keys.filter(isDecision) : [])));
}

async function* keysOfKeys(context: Context): AsyncGenerator<string> {
  yield 'config';
  for (const prefix of ['keys/', 'keyset/']) {
    for await (const { key } of context.store.list(prefix)) yield key;
  }
}

/** @returns the keys that are not there */
async function retainAll(
  keys: Iterable<string>,
  until: number,
  how: { retention: Retention; signal?: AbortSignal | undefined; onKept?: (key: string) => void },
): Promise<Set<string>> {
  const { retention, signal, onKept } = how;
  const missing = new Set<string>();
  await forEachBounded(
    keys,
    concurrency,
    async (key, inner) => {
      try {
        await retention.retain(key, until, { signal: inner });
      } catch (error) {
        if (!(error instanceof PrimaError) || error.code !== 'not-found') throw error;
        missing.add(key);
        return;
      }
      onKept?.(key);
    },
    signal,
  );
  return missing;
}

function warnOf(context: Context, missing: Iterable<string>): void {
  for (const key of missing) {
    context.logger.warn(`${key} cannot be kept by the store, because it is not there; run: prima check`);
  }
}

function disksOf(point: Point): PointDisk[] {
  return point.memory ? [...point.disks, point.memory] : point.disks;
}
