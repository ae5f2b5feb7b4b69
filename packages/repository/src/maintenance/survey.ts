/** What there is: sessions, points, pins, the log, the index, and what the points reach. */
import { IntegrityError, PrimaError, type Range } from '@prima/base';
import { type Context, hexOf, idFromHex } from '../context.ts';
import type { Point } from '../point.ts';
import { IdSet } from '../index/id-table.ts';
import { BlobReader } from '../index/blob-reader.ts';
import { readSegment, RepositoryIndex } from '../index/repository-index.ts';
import { PageTree } from '../manifest/page-tree.ts';
import { loggedSessions, type LogEntry } from '../session/log-chain.ts';
import { refusal } from '../session/root-log.ts';
import { isOfSignerInForce, isUnreadable, verifyForgotten } from '../session/read-outcome.ts';
import {
  type CommittedSession,
  endSession,
  listSessions,
  readMarkerIfThere,
  readOutcomes,
  type SessionEntry,
  sessionTime,
  whyDead,
} from '../session/sessions.ts';

export interface Survey {
  sessions: SessionEntry[];
  outcomes: Map<string, CommittedSession>;
  index: RepositoryIndex;
  /** Points that are kept: not forgotten, or pinned by a reader. */
  kept: Point[];
  /** Sessions whose point is forgotten and not pinned. */
  forgotten: CommittedSession[];
  /** Bytes of packs that checkpoints of backups keep that are under way or were interrupted. */
  interruptedBytes: number;
  /** Every blob that a kept point reaches. */
  live: IdSet;
  /** Live bytes in each pack of the index, and the number of live blobs. */
  livePerPack: Float64Array;
  liveBlobs: Uint32Array;
  /** Names of packs with recorded damage. */
  damaged: ReadonlySet<string>;
  /** Numbers of packs that are the only place of a live blob that cannot be read. */
  spoilt: Set<number>;
  /** Where pages of kept points cannot be read: what is live below them is unknown. */
  hidden: { point: string; disk: string; range: Range }[];
  /** Until when sessions that were given up may need anything that is stored, milliseconds since 1970; 0: there are none. */
  heldUntil: number;
  /** Live blobs that are in no pack of the index, as is known and recorded. */
  nowhere: number;
}

export interface SurveyOptions {
  /**
   * The survey before: what was not forgotten then counts as kept now. It may have been pinned before it was forgotten,
   * at a place that the listing had passed.
   */
  earlier?: Survey;
  /** Counts checkpoints of interrupted backups as released. Default false. */
  dropInterrupted?: boolean;
}

/**
 * Looks at everything and marks what is live. Raises `refused` when a live blob is nowhere and not known to be, or
 * when the log knows points that are not there: then nothing may be deleted.
 */
export async function survey(context: Context, options: SurveyOptions = {}): Promise<Survey> {
  const { earlier, dropInterrupted = false } = options;
  const log = await context.log.readAll(); // before the points: whoever logs one has committed it
  if (log.fault !== undefined) throw refusal('collecting', log.fault);
  const sessions = await listSessions(context);
  const outcomes = new Map((await readOutcomes(context, sessions)).map((entry) => [entry.id, entry]));
  const pinned = await readPins(context, sessions);
  const committed = [...outcomes.values()].filter(
    ({ outcome }) => outcome.state === 'committed' && outcome.point,
  );
  const { disbelieved, cameBack } = await reconcileLog(context, log.entries, committed);
  const before = earlier && new Set(earlier.forgotten.map(({ id }) => id));
  const released = [...outcomes.values()].filter(
    (entry) => isCheckpoint(entry) && (dropInterrupted || isReleased(context, entry)),
  );
  const forgotten = [
    ...committed.filter(
      ({ id, isForgotten }) => (isForgotten || cameBack.has(id)) && !pinned.has(id) && !disbelieved.has(id),
    ),
    ...released,
  ].filter(({ id }) => before?.has(id) ?? true);
  const gone = new Set(forgotten.map(({ id }) => id));
  const kept = committed.flatMap(({ id, outcome }) =>
    outcome.point && !gone.has(id) ? [outcome.point] : [],
  );
  const index = await RepositoryIndex.load(context, { strict: true });
  const checkpoints = [...outcomes.values()].filter((entry) => isCheckpoint(entry) && !gone.has(entry.id));
  const roots = { kept, checkpoints: new Set(checkpoints.map(({ id }) => id)) };
  const interruptedBytes = checkpoints.reduce(
    (sum, { outcome }) => sum + (outcome.checkpoint?.bytes ?? 0),
    0,
  );
  const marked = await markSteadily(context, index, roots);
  const heldUntil = endOfHold(context, outcomes.values());
  return { sessions, outcomes, index, kept, forgotten, interruptedBytes, heldUntil, ...marked };
}

function endOfHold(context: Context, outcomes: Iterable<CommittedSession>): number {
  let latest = 0;
  for (const { outcome, lockedUntil } of outcomes) {
    if (outcome.state !== 'lost') continue;
    const until = Math.max(Date.parse(outcome.keptUntil ?? '') || 0, lockedUntil);
    if (until > context.clock.now()) latest = Math.max(latest, until);
  }
  return latest;
}

/** What a backup left behind when it was interrupted is kept for so long. */
const checkpointMs = 14 * 24 * 3_600_000;

function isCheckpoint({ outcome }: CommittedSession): boolean {
  return outcome.kind === 'checkpoint' && outcome.state === 'committed';
}

function isReleased(context: Context, { id, isForgotten }: CommittedSession): boolean {
  return isForgotten || context.clock.now() - sessionTime(id) > checkpointMs;
}

interface Roots {
  kept: readonly Point[];
  checkpoints: ReadonlySet<string>;
}

/** Marks until no damage is found on the way: a blob that was counted in the place that is damaged has another one since. */
async function markSteadily(context: Context, index: RepositoryIndex, roots: Roots) {
  for (;;) {
    const { revision } = context.damage;
    const marked = await mark(context, index, roots);
    if (context.damage.revision === revision) return marked;
  }
}

async function mark(context: Context, index: RepositoryIndex, roots: Roots) {
  const live = new IdSet(index.size);
  const livePerPack = new Float64Array(index.packs.length);
  const liveBlobs = new Uint32Array(index.packs.length);
  const damage: Pick<Survey, 'spoilt' | 'hidden' | 'nowhere'> = { spoilt: new Set(), hidden: [], nowhere: 0 };
  const tree = new PageTree(context, new BlobReader(context, index));
  const visit = (id: Uint8Array): boolean => {
    if (!live.add(id)) return false;
    const place = index.find(id);
    if (place) {
      livePerPack[place.pack] = (livePerPack[place.pack] ?? 0) + place.length;
      liveBlobs[place.pack] = (liveBlobs[place.pack] ?? 0) + 1;
    } else if (index.isLost(id)) damage.nowhere += 1;
    else throw nowhere(id);
    if (place?.isDamaged) damage.spoilt.add(place.pack);
    return true;
  };
  for (const key of index.segments) {
    if (!roots.checkpoints.has(key.slice(6, 38))) continue;
    const { ids } = await readSegment(context, key);
    for (let at = 0; at < ids.length; at += 32) visit(ids.slice(at, at + 32));
  }
  for (const point of roots.kept) {
    for (const file of point.files) for (const id of file.ids) visit(idFromHex(id));
    for (const disk of [...point.disks, ...(point.memory ? [point.memory] : [])]) {
      const onError = (error: unknown, range: Range, id: Uint8Array) => {
        if (!(error instanceof PrimaError) || error.code !== 'integrity') throw error;
        const place = index.find(id);
        if (place) damage.spoilt.add(place.pack);
        damage.hidden.push({ point: point.id, disk: disk.name, range });
      };
      await tree.walk(disk.root, disk.size, { page: visit, chunk: visit, onError });
    }
  }
  return { live, livePerPack, liveBlobs, damaged: new Set(context.damage.all().packs.keys()), ...damage };
}

function nowhere(id: Uint8Array): PrimaError {
  return new PrimaError(
    'refused',
    `chunk ${hexOf(id)} of a restore point is nowhere in the repository; run "prima check", which names what is affected and records it, and delete nothing before`,
  );
}

/** Points that a living reader holds; pins of dead readers are removed. */
async function readPins(context: Context, sessions: readonly SessionEntry[]): Promise<Set<string>> {
  const pinned = new Set<string>();
  for (const entry of sessions) {
    if (!entry.hasMarker || entry.hasOutcome) continue;
    const marker = await readMarkerIfThere(context, entry.id);
    // one that cannot be read may be a reader's: nothing is deleted while there is one that may be alive
    if (marker === undefined || marker === 'unreadable') continue;
    if (marker.kind !== 'read' || marker.point === undefined) continue;
    const { why } = await whyDead(context, entry);
    if (why === undefined) pinned.add(marker.point);
    else await endSession(context, entry.id);
  }
  return pinned;
}

/** Which points the log knows that are not there, and which are there that the log lacks. */
export function compareLog(
  entries: readonly LogEntry[],
  committed: readonly CommittedSession[],
): {
  missing: string[];
  changed: string[];
  unlogged: CommittedSession[];
  unloggedForgets: CommittedSession[];
  /** Forgotten and removed, mark and all, and then an outcome came back: a crash undid its deletion. Never of a point with a lock. */
  cameBack: CommittedSession[];
} {
  const there = new Set(committed.map(({ id }) => id));
  const logged = loggedSessions(entries);
  return {
    missing: [...logged].flatMap(([id, { event }]) => (event === 'committed' && !there.has(id) ? [id] : [])),
    changed: committed.flatMap(({ id, digest }) =>
      logged.get(id)?.outcomes.has(digest) === false ? [id] : [],
    ),
    unlogged: committed.filter(({ id }) => !logged.has(id)),
    unloggedForgets: committed.filter(
      ({ id, isForgotten }) => isForgotten && logged.get(id)?.event !== 'forgotten',
    ),
    cameBack: committed.filter(
      ({ id, isForgotten, lockedUntil }) =>
        !isForgotten && lockedUntil === 0 && logged.get(id)?.event === 'forgotten',
    ),
  };
}

/**
 * Points of `missing` that the log does not know as forgotten now either: another collection may have removed
 * some since the log was read.
 */
export async function trulyMissing(context: Context, missing: readonly string[]): Promise<string[]> {
  if (missing.length === 0) return [];
  const logged = loggedSessions((await context.log.readAll()).entries);
  return missing.filter((id) => logged.get(id)?.event === 'committed');
}

/**
 * Mends what a crash left out of the log; refuses where somebody took points away.
 * @returns sessions that are marked as forgotten by somebody who may not: these points are kept, and checks tell; and those
 * that came back after they were removed
 */
async function reconcileLog(
  context: Context,
  entries: readonly LogEntry[],
  committed: readonly CommittedSession[],
): Promise<{ disbelieved: Set<string>; cameBack: Set<string> }> {
  const { changed, unlogged, unloggedForgets, ...compared } = compareLog(entries, committed);
  const missing = await trulyMissing(context, compared.missing);
  if (missing.length > 0) {
    throw new PrimaError(
      'refused',
      `the log of roots knows ${missing.length} restore points that are not there (${missing.slice(0, 3).join(', ')}); somebody removed them, or the store does not list everything; nothing is deleted; see: prima repair`,
      { details: { missing } },
    );
  }
  if (changed.length > 0)
    throw new IntegrityError(`restore points are not what the log of roots says: ${changed.join(', ')}`);
  for (const { id, digest } of unlogged) {
    if (!(await isOfSignerInForce(context, id))) continue; // checks tell, a person decides; until then it is kept
    await context.log.append({ event: 'committed', session: id, outcome: digest });
  }
  const disbelieved = new Set<string>();
  for (const { id, digest } of unloggedForgets) {
    const isOurs = await isVerified(context, id);
    if (isOurs) await context.log.append({ event: 'forgotten', session: id, outcome: digest });
    else disbelieved.add(id);
  }
  return { disbelieved, cameBack: new Set(compared.cameBack.map(({ id }) => id)) };
}

/** Whether the mark, which the log does not know, is there and of who may sign now. */
export async function isVerified(context: Context, id: string): Promise<boolean> {
  try {
    return await verifyForgotten(context, id);
  } catch (error) {
    if (isUnreadable(error)) return false;
    throw error;
  }
}
