/**
 * Collection: deletes what no restore point reaches, beside running backups. The steps and their
 * order are those of "Collection" in the format; leaving one out loses data.
 */
import { PrimaError, type ProgressListener, throwIfAborted } from '@prima/base';
import { type Context, putRecord } from '../context.ts';
import type { CollectReport } from '../contract.ts';
import { blobType, parseBlobHeader } from '../format/blob.ts';
import { packKey, type PackKind, parsePackKey } from '../format/pack.ts';
import type { SegmentEntry, SegmentPack } from '../format/segment.ts';
import { type CondemnedList, readSegment } from '../index/repository-index.ts';
import { PackSink } from '../session/pack-sink.ts';
import {
  beginSession,
  byBeginning,
  decide,
  forgottenKey,
  listSessions,
  outcomeKey,
  type SessionEntry,
  sessionTime,
  startBeats,
  whyDead,
} from '../session/sessions.ts';
import { type Survey, survey } from './survey.ts';

export interface CollectOptions {
  dryRun?: boolean;
  waitMs?: number;
  maxDeleteShare?: number;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

/** A pack of which less than this share is live is rewritten. */
const rewriteBelow = 0.5;
const pollMs = 500;

interface ListedPack {
  kind: PackKind;
  size: number;
}

interface Plan {
  /** Packs without a live blob. */
  dead: Set<string>;
  /** Packs whose live blobs are copied before they are deleted. */
  rewrite: Set<string>;
  /** Packs that no segment speaks of. */
  orphans: Set<string>;
}

export async function collect(context: Context, options: CollectOptions): Promise<CollectReport> {
  const listed = await listPacks(context);
  if (options.dryRun) {
    const now = await survey(context);
    return reportOf(now, planOf(now, listed), { listed, options });
  }
  const session = await beginSession(context, 'collection');
  const stopBeats = startBeats(context, session);
  try {
    return await new Collection(context, session, options).run(listed);
  } catch (error) {
    await context.store.delete(condemnedKey(session));
    const time = new Date(context.clock.now()).toISOString();
    const why = error instanceof Error ? error.message : String(error);
    await decide(context, { session, state: 'aborted', kind: 'collection', time, why });
    throw error;
  } finally {
    stopBeats();
  }
}

class Collection {
  readonly #context: Context;
  readonly #session: string;
  readonly #options: CollectOptions;
  readonly #fenced: CollectReport['fenced'] = [];
  readonly #notes: string[] = [];

  constructor(context: Context, session: string, options: CollectOptions) {
    this.#context = context;
    this.#session = session;
    this.#options = options;
  }

  async run(listed: Map<string, ListedPack>): Promise<CollectReport> {
    this.#progress('marking');
    const first = await survey(this.#context);
    const plan = planOf(first, listed);
    refuseTooMuch(plan, listed, this.#options.maxDeleteShare ?? 0.8);
    const condemned: CondemnedList = {
      session: this.#session,
      packs: [...plan.dead, ...plan.rewrite, ...plan.orphans],
    };
    if (condemned.packs.length > 0) {
      await putRecord(this.#context, condemnedKey(this.#session), blobType.condemned, condemned);
    }
    this.#progress('waiting for running backups');
    await this.#awaitOthers();
    this.#progress('marking again');
    const second = await survey(this.#context);
    this.#rescue(plan, second);
    this.#progress('rewriting packs');
    const superseded = await this.#rewrite(plan, second);
    this.#progress('deleting');
    const sessionsRemoved = await this.#delete(plan, second, superseded);
    const report = reportOf(second, plan, { listed, options: this.#options });
    return { ...report, sessionsRemoved, fenced: this.#fenced, notes: [...report.notes, ...this.#notes] };
  }

  /** Waits until every session that was there is decided; gives up on dead ones. */
  async #awaitOthers(): Promise<void> {
    const { waitMs = 600_000, signal } = this.#options;
    const deadline = this.#context.clock.monotonic() + waitMs;
    for (;;) {
      throwIfAborted(signal, 'collecting');
      const open = await this.#undecided();
      if (open.length === 0) return;
      const older = open.find(
        (other) => other.kind === 'collection' && byBeginning(other, { id: this.#session }) < 0,
      );
      if (older) throw new PrimaError('busy', 'another collection is running; nothing was deleted');
      if (this.#context.clock.monotonic() >= deadline) {
        const since = new Date(Math.min(...open.map(({ id }) => sessionTime(id)))).toISOString();
        throw new PrimaError(
          'busy',
          `${open.length} running backups did not end in time (the first began ${since}); nothing was deleted, run the collection again later`,
          { retryable: true },
        );
      }
      await this.#context.clock.sleep(pollMs, signal);
    }
  }

  /** Sessions that may still commit; those of dead processes are fenced on the way. */
  async #undecided(): Promise<{ id: string; kind: string }[]> {
    const open: { id: string; kind: string }[] = [];
    for (const entry of await listSessions(this.#context)) {
      if (entry.hasOutcome || entry.id === this.#session || entry.isForgotten) continue;
      const state = await whyDead(this.#context, entry);
      if (state.kind === 'read') continue;
      if (state.why === undefined) {
        open.push({ id: entry.id, kind: state.kind });
        continue;
      }
      const time = new Date(this.#context.clock.now()).toISOString();
      const { why } = state;
      await decide(this.#context, { session: entry.id, state: 'aborted', kind: state.kind, time, why });
      this.#fenced.push({ session: entry.id, why });
    }
    return open;
  }

  /** Keeps condemned packs that something live needs by now. */
  #rescue(plan: Plan, now: Survey): void {
    for (const [number, pack] of now.index.packs.entries()) {
      plan.orphans.delete(pack.name); // a session that was running has committed it
      if (plan.dead.has(pack.name) && (now.livePerPack[number] ?? 0) > 0) {
        plan.dead.delete(pack.name);
        this.#notes.push(`pack ${pack.name} was rescued: a backup that ended meanwhile needs it`);
      }
    }
  }

  /** Copies live blobs out of packs to be rewritten, and writes segments without the packs that go. */
  async #rewrite(plan: Plan, now: Survey): Promise<string[]> {
    const going = new Set([...plan.dead, ...plan.rewrite]);
    const leaving = new Set(now.forgotten.map(({ id }) => id));
    const packs: SegmentPack[] = [];
    const entries: SegmentEntry[] = [];
    const superseded: string[] = [];
    const sink = new PackSink(this.#context, this.#session);
    for (const key of now.index.segments) {
      const segment = await readSegment(this.#context, key);
      const isTouched = segment.packs.some(({ name }) => going.has(name)) || leaving.has(key.slice(6, 38));
      if (!isTouched) continue;
      superseded.push(key);
      const numbers = segment.packs.map((pack) => (going.has(pack.name) ? -1 : packs.push(pack) - 1));
      for (let i = 0; i < segment.count; i += 1) {
        const id = segment.ids.slice(i * 32, i * 32 + 32);
        const [at = 0, offset = 0, length = 0] = segment.places.subarray(i * 3, i * 3 + 3);
        const number = numbers[at] ?? -1;
        if (number >= 0) entries.push({ id, pack: number, offset, length });
        else await this.#copyIfNeeded(id, { plan, now, sink });
      }
    }
    await sink.finish({ packs, entries });
    // a collection that died may have copied the same blobs, and then its pack, an orphan, is also ours
    for (const name of sink.names) plan.orphans.delete(name);
    const time = new Date(this.#context.clock.now()).toISOString();
    const { digest } = await decide(this.#context, {
      session: this.#session,
      state: 'committed',
      kind: 'collection',
      time,
      superseded,
    });
    if (digest === undefined)
      throw new PrimaError('refused', 'another collection gave up on this one; nothing was deleted');
    return superseded;
  }

  async #copyIfNeeded(
    id: Uint8Array,
    { plan, now, sink }: { plan: Plan; now: Survey; sink: PackSink },
  ): Promise<void> {
    const place = now.index.find(id);
    if (!place || !plan.rewrite.has(place.in.name) || !now.live.has(id) || sink.has(id)) return;
    throwIfAborted(this.#options.signal, 'collecting');
    const key = packKey(place.in.kind, place.in.name);
    const blob = await this.#context.store.get(key, { offset: place.offset, length: place.length });
    const where = `${key} at ${place.offset}`;
    const { type, plainLength } = parseBlobHeader(blob, where);
    this.#context.opener.open(blob, { type, id }, where); // damage is not carried on
    sink.claim(id);
    await sink.copy(place.in.kind, { id, type, plainLength }, blob);
  }

  async #delete(plan: Plan, now: Survey, superseded: readonly string[]): Promise<number> {
    const { store } = this.#context;
    for (const key of superseded) await store.delete(key);
    await this.#deleteStraySegments(now);
    for (const name of [...plan.dead, ...plan.rewrite, ...plan.orphans]) {
      for (const kind of ['data', 'meta'] as const) await store.delete(packKey(kind, name));
    }
    const removed = await this.#deleteSessions(now);
    await this.#deleteCondemned(now);
    return removed;
  }

  /** This collection's list and those of collections that are over; never that of one that began meanwhile. */
  async #deleteCondemned(now: Survey): Promise<void> {
    const { store } = this.#context;
    for await (const { key } of store.list('condemned/')) {
      const session = key.slice(10);
      if (session === this.#session || now.outcomes.has(session)) await store.delete(key);
    }
  }

  /** Segments of aborted sessions, and those that an earlier collection replaced but did not come to delete. */
  async #deleteStraySegments(now: Survey): Promise<void> {
    const current = new Set(now.index.segments);
    for await (const { key } of this.#context.store.list('index/')) {
      const session = key.slice(6, 38);
      const decided = now.outcomes.get(session);
      if (session !== this.#session && decided && !current.has(key)) await this.#context.store.delete(key);
    }
  }

  async #deleteSessions(now: Survey): Promise<number> {
    const { store } = this.#context;
    const forgotten = new Set(now.forgotten.map(({ id }) => id));
    const withSegments = new Set<string>();
    for await (const { key } of store.list('index/')) withSegments.add(key.slice(6, 38));
    let removed = 0;
    for (const entry of now.sessions) {
      const decided = now.outcomes.get(entry.id)?.outcome;
      if (entry.id === this.#session) continue;
      const isSpent =
        decided?.kind === 'collection' && decided.state === 'committed' && !withSegments.has(entry.id);
      // a collection that died here before this one has left the mark of what it had begun to remove
      const isHalfGone = entry.isForgotten && !entry.hasOutcome;
      if (forgotten.has(entry.id) || isHalfGone) {
        // the outcome first: at no moment is there a point that is not forgotten
        await this.#deleteKeys(entry, { first: outcomeKey(entry.id), last: forgottenKey(entry.id) });
      } else if (isSpent) {
        // the outcome last: without it the marker would be that of a session that may still commit
        await this.#deleteKeys(entry, { last: outcomeKey(entry.id) });
      } else if (decided?.state === 'aborted' && entry.keys.length > 1) {
        // the aborted outcome stays: it keeps a late writer from committing
        for (const key of entry.keys) if (key !== outcomeKey(entry.id)) await store.delete(key);
      } else continue;
      removed += 1;
    }
    return removed;
  }

  async #deleteKeys({ keys }: SessionEntry, order: { first?: string; last: string }): Promise<void> {
    const { store } = this.#context;
    const { first, last } = order;
    if (first !== undefined) await store.delete(first);
    for (const key of keys) if (key !== first && key !== last) await store.delete(key);
    await store.delete(last);
  }

  #progress(phase: string): void {
    this.#options.onProgress?.({ phase, done: 0 });
  }
}

const condemnedKey = (session: string) => `condemned/${session}`;

async function listPacks(context: Context): Promise<Map<string, ListedPack>> {
  const packs = new Map<string, ListedPack>();
  for await (const { key, size } of context.store.list('packs/')) {
    const pack = parsePackKey(key);
    if (pack) packs.set(pack.name, { kind: pack.kind, size });
  }
  return packs;
}

function planOf(now: Survey, listed: ReadonlyMap<string, ListedPack>): Plan {
  const plan: Plan = { dead: new Set(), rewrite: new Set(), orphans: new Set() };
  for (const [number, pack] of now.index.packs.entries()) {
    const live = now.livePerPack[number] ?? 0;
    if (live === 0) plan.dead.add(pack.name);
    else if (live < pack.size * rewriteBelow && live + pack.size / 16 < pack.size)
      plan.rewrite.add(pack.name);
  }
  for (const name of listed.keys()) if (!now.index.hasPack(name)) plan.orphans.add(name);
  return plan;
}

function refuseTooMuch(plan: Plan, listed: ReadonlyMap<string, ListedPack>, maxShare: number): void {
  let total = 0;
  let going = 0;
  for (const [name, { size }] of listed) {
    total += size;
    if (plan.dead.has(name) || plan.orphans.has(name)) going += size;
  }
  if (total > 0 && going / total > maxShare) {
    const percent = Math.round((going / total) * 100);
    throw new PrimaError(
      'refused',
      `the collection would delete ${percent} % of the repository, more than the ${Math.round(maxShare * 100)} % allowed; if that is right, allow it with --max-delete-share ${(Math.ceil((going / total) * 100) / 100).toFixed(2)}`,
      { details: { share: going / total } },
    );
  }
}

function reportOf(
  now: Survey,
  plan: Plan,
  { listed, options }: { listed: ReadonlyMap<string, ListedPack>; options: CollectOptions },
): CollectReport {
  let bytesFreed = 0;
  let bytesLive = 0;
  for (const [number, pack] of now.index.packs.entries()) {
    const live = now.livePerPack[number] ?? 0;
    bytesLive += live;
    if (plan.dead.has(pack.name)) bytesFreed += pack.size;
    else if (plan.rewrite.has(pack.name)) bytesFreed += pack.size - live;
  }
  for (const name of plan.orphans) bytesFreed += listed.get(name)?.size ?? 0;
  const notes = plan.orphans.size > 0 ? [`${plan.orphans.size} packs of sessions that never ended`] : [];
  return {
    dryRun: options.dryRun ?? false,
    packs: listed.size,
    packsDeleted: plan.dead.size + plan.orphans.size,
    packsRewritten: plan.rewrite.size,
    bytesFreed,
    bytesLive,
    sessionsRemoved: now.forgotten.length,
    fenced: [],
    notes,
  };
}
