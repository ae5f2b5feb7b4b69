/**
 * Writes index segments that were lost or do not open. The index is derived: packs end with a directory of what is in
 * them. Only what points reach and no segment has is entered, so that packs of dead sessions stay without a segment.
 */
import { forEachBounded, PrimaError, throwIfAborted } from '@prima/base';
import type { Context } from '../context.ts';
import type { CheckOptions } from '../contract.ts';
import type { Point } from '../point.ts';
import {
  packKey,
  packTrailerBytes,
  parsePackDirectory,
  parsePackKey,
  parsePackTrailer,
} from '../format/pack.ts';
import type { SegmentEntry, SegmentPack } from '../format/segment.ts';
import { RepositoryIndex } from '../index/repository-index.ts';
import { PackSink } from '../session/pack-sink.ts';
import {
  beginSession,
  decide,
  listSessions,
  readOutcomes,
  startBeats,
  whyDead,
} from '../session/sessions.ts';
import { walkPoints } from './check-reach.ts';

/** Directories that are read at once. */
const concurrency = 8;

/** What was done, in words for the report. Raises `busy` while backups or collections run. */
export async function rebuildIndex(context: Context, { signal }: CheckOptions): Promise<string[]> {
  const session = await beginSession(context, 'collection');
  const stopBeats = startBeats(context, session);
  const time = () => new Date(context.clock.now()).toISOString();
  try {
    const listed = await listPacks(context); // before the sessions: whoever stored one has a marker
    await assertAlone(context, session);
    const lost = await findLost(context, listed, signal);
    await new PackSink(context, session).finish(lost);
    const { digest } = await decide(context, {
      session,
      state: 'committed',
      kind: 'collection',
      time: time(),
      superseded: lost.unreadable,
    });
    if (digest === undefined) throw new PrimaError('refused', 'a collection gave up on rebuilding the index');
    if (lost.entries.length === 0) return ['the index lacks nothing that packs could give'];
    return [
      `the index was rebuilt: ${lost.entries.length} blobs in ${lost.packs.length} packs are found again`,
    ];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    await decide(context, { session, state: 'aborted', kind: 'collection', time: time(), why });
    throw error;
  } finally {
    await stopBeats();
  }
}

async function listPacks(context: Context): Promise<SegmentPack[]> {
  const packs: SegmentPack[] = [];
  for await (const { key, size } of context.store.list('packs/')) {
    const pack = parsePackKey(key);
    if (pack) packs.push({ ...pack, size });
  }
  return packs;
}

/** A running backup may still take back its packs, a collection moves them: neither may be under way. */
async function assertAlone(context: Context, own: string): Promise<void> {
  for (const entry of await listSessions(context)) {
    if (entry.hasOutcome || entry.id === own) continue;
    const { kind, why } = await whyDead(context, entry);
    if (kind === 'read') continue;
    if (why === undefined) {
      throw new PrimaError('busy', `a ${kind} is running; rebuild the index when it has ended`, {
        retryable: true,
      });
    }
    const time = new Date(context.clock.now()).toISOString();
    await decide(context, { session: entry.id, state: 'aborted', kind, time, why });
  }
}

interface Lost {
  packs: SegmentPack[];
  entries: SegmentEntry[];
  /** Keys of segments that do not open, which the new ones replace. */
  unreadable: string[];
}

async function findLost(
  context: Context,
  listed: readonly SegmentPack[],
  signal?: AbortSignal,
): Promise<Lost> {
  const lost: Lost = { packs: [], entries: [], unreadable: [] };
  const index = await RepositoryIndex.load(context, {
    onBadSegment: (key) => void lost.unreadable.push(key),
  });
  const unknown = listed.filter(({ name }) => !index.hasPack(name));
  const names = new Set(unknown.map(({ name }) => name));
  await forEachBounded(
    unknown,
    concurrency,
    async (pack) => {
      throwIfAborted(signal, 'reading the directories of packs');
      index.addPack(pack, await directoryOf(context, pack));
    },
    signal,
  );
  const numbers = new Map<string, number>();
  await walkPoints({ context, index, points: await allPoints(context) }, (id) => {
    const place = index.find(id);
    if (!place || !names.has(place.in.name)) return;
    const { name, kind, size } = place.in;
    const number = numbers.get(name) ?? lost.packs.push({ name, kind, size }) - 1;
    numbers.set(name, number);
    lost.entries.push({ id: Uint8Array.from(id), pack: number, offset: place.offset, length: place.length });
  });
  return lost;
}

/** A pack whose directory does not open gives nothing. */
async function directoryOf(context: Context, { kind, name, size }: SegmentPack) {
  const key = packKey(kind, name);
  try {
    const range = { offset: Math.max(0, size - packTrailerBytes), length: Math.min(size, packTrailerBytes) };
    const trailer = parsePackTrailer(await context.store.get(key, range, { fresh: true }), size, key);
    return parsePackDirectory(await context.store.get(key, trailer, { fresh: true }), trailer, key);
  } catch (error) {
    const isOurs = error instanceof PrimaError && ['integrity', 'not-found'].includes(error.code);
    if (!isOurs) throw error;
    context.logger.warn(`${key} is left out of the index: ${error.message}`);
    return [];
  }
}

/** Those that are forgotten as well: a reader may have pinned them. */
async function allPoints(context: Context): Promise<Point[]> {
  const committed = await readOutcomes(context, await listSessions(context));
  return committed.flatMap(({ outcome }) =>
    outcome.state === 'committed' && outcome.point ? [outcome.point] : [],
  );
}
