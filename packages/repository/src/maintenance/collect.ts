/**
 * Collection: deletes what no restore point reaches, beside running backups. The steps and their
 * order are those of "Collection" in the format; leaving one out loses data.
 */
import { assert, GiB, PrimaError, type ProgressListener, throwIfAborted, toPrimaError } from '@prima/base';
import { type Context, putRecord } from '../context.ts';
import type { CollectReport } from '../contract.ts';
import { recordDamage } from '../damage/lists.ts';
import { blobType } from '../format/blob.ts';
import type { CondemnedList } from '../index/repository-index.ts';
import { PackSink } from '../session/pack-sink.ts';
import { retainSession } from '../session/retaining.ts';
import {
  beginSession,
  byBeginning,
  decide,
  listSessions,
  sessionTime,
  startBeats,
  whyDead,
} from '../session/sessions.ts';
import {
  type Budget,
  listPacks,
  type ListedPack,
  type Plan,
  planOf,
  reportOf,
  whyTooMuch,
} from './collect-plan.ts';
import { condemnedKey, deleteCollected } from './collect-delete.ts';
import { copiedBytes, copyBlobs, planSegments } from './collect-rewrite.ts';
import { keptPacks, longestLock, notesOnKept } from './kept-by-store.ts';
import { spareDamaged } from './spare-damaged.ts';
import { type Survey, survey, type SurveyOptions } from './survey.ts';

export interface CollectOptions {
  dryRun?: boolean;
  waitMs?: number;
  maxDeleteShare?: number;
  maxRewriteBytes?: number;
  roundBytes?: number;
  dropInterrupted?: boolean;
  signal?: AbortSignal;
  onProgress?: ProgressListener;
}

const pollMs = 500;
const defaultRoundBytes = 16 * GiB;

/** Collects in rounds: what a round has done stands, whatever happens to the next. */
export async function collect(context: Context, options: CollectOptions): Promise<CollectReport> {
  const budget = {
    total: options.maxRewriteBytes ?? Number.POSITIVE_INFINITY,
    round: options.roundBytes ?? defaultRoundBytes,
  };
  if (options.dryRun) return await dryRun(context, budget, options);
  const reports: CollectReport[] = [];
  for (;;) {
    const { report, plan } = await collectOnce(context, budget, options);
    reports.push(report);
    if (plan.later.length === 0) return merged(reports);
    budget.total -= plan.rewriteBytes;
  }
}

async function dryRun(context: Context, budget: Budget, options: CollectOptions): Promise<CollectReport> {
  const listed = await listPacks(context);
  const now = await survey(context, surveyOptions(options));
  const kept = await keptPacks(context, now, listed);
  const plan = planOf(now, listed, budget, kept);
  const notes = [...spareDamaged(plan, now), ...notesOnKept(now, listed, kept)];
  const refusal = whyTooMuch(plan, listed, options.maxDeleteShare ?? 0.8);
  let copied = 0;
  for (const rewrite of [plan.rewrite, ...plan.later]) {
    const { copies } = await planSegments(context, now, { dead: plan.dead, rewrite });
    copied += copiedBytes(context, copies);
    for (const name of rewrite) plan.rewrite.add(name);
  }
  const report = reportOf(now, plan, { listed, dryRun: true, copied });
  if (refusal) notes.push(refusal.message);
  return { ...report, notes: [...report.notes, ...notes] };
}

async function collectOnce(
  context: Context,
  budget: Budget,
  options: CollectOptions,
): Promise<{ report: CollectReport; plan: Plan }> {
  const listed = await listPacks(context);
  const session = await beginSession(context, 'collection');
  const stopBeats = startBeats(context, session);
  try {
    return await new Collection(context, session, options).run(listed, budget);
  } catch (error) {
    // where it cannot be deleted it goes with a later collection, once this one is decided
    await context.store.delete(condemnedKey(session)).catch((second: unknown) => {
      context.logger.warn(toPrimaError(second, 'taking back the condemned list').message);
    });
    const time = new Date(context.clock.now()).toISOString();
    const why = error instanceof Error ? error.message : String(error);
    const own = { session, state: 'aborted', kind: 'collection', time, why } as const;
    const { outcome, digest } = await decide(context, own);
    // who was given up on may miss what it takes for needed: that is no news of the repository
    if (digest === undefined && outcome.state === 'aborted') throw fenced(error);
    throw error;
  } finally {
    await stopBeats();
    await recordDamage(context, 'collection');
  }
}

function surveyOptions({ dropInterrupted }: CollectOptions): SurveyOptions {
  return dropInterrupted === undefined ? {} : { dropInterrupted };
}

/** The report of several rounds: counts add up, what there is now is what the last one found. */
function merged(reports: readonly CollectReport[]): CollectReport {
  const [first] = reports;
  const last = reports.at(-1);
  assert(first && last, 'a collection has at least one round');
  const sum = (figure: 'packsDeleted' | 'packsRewritten' | 'bytesFreed' | 'sessionsRemoved') =>
    reports.reduce((total, report) => total + report[figure], 0);
  return {
    ...last,
    packs: first.packs,
    packsDeleted: sum('packsDeleted'),
    packsRewritten: sum('packsRewritten'),
    bytesFreed: sum('bytesFreed'),
    sessionsRemoved: sum('sessionsRemoved'),
    fenced: reports.flatMap(({ fenced }) => fenced),
    notes: reports.flatMap(({ notes }) => notes),
  };
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

  async run(listed: Map<string, ListedPack>, budget: Budget): Promise<{ report: CollectReport; plan: Plan }> {
    this.#progress('marking');
    const first = await survey(this.#context, surveyOptions(this.#options));
    const kept = await keptPacks(this.#context, first, listed);
    const plan = planOf(first, listed, budget, kept);
    spareDamaged(plan, first);
    const refusal = whyTooMuch(plan, listed, this.#options.maxDeleteShare ?? 0.8);
    if (refusal) throw refusal;
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
    const second = await survey(this.#context, { ...surveyOptions(this.#options), earlier: first });
    this.#rescue(plan, second);
    this.#notes.push(...spareDamaged(plan, second), ...notesOnKept(second, listed, kept));
    const { superseded, copied, written } = await this.#rewrite(plan, second);
    this.#progress('deleting');
    const sessionsRemoved = await deleteCollected(this.#context, {
      session: this.#session,
      now: second,
      superseded,
      packs: [...plan.dead, ...plan.rewrite, ...plan.orphans],
      written,
    });
    const report = reportOf(second, plan, { listed, dryRun: false, copied });
    const notes = [...report.notes, ...this.#notes];
    return { report: { ...report, sessionsRemoved, fenced: this.#fenced, notes }, plan };
  }

  /**
   * Waits until every session that was there is decided; gives up on dead ones. Two listings in a row have to be clean: one
   * is not of one instant, and a session that was fenced may have begun a checkpoint at a place that it had passed.
   */
  async #awaitOthers(): Promise<void> {
    const { waitMs = 600_000, signal } = this.#options;
    const deadline = this.#context.clock.monotonic() + waitMs;
    for (let clean = 0; clean < 2; ) {
      throwIfAborted(signal, 'collecting');
      // once for others to see the condemned list, or that they were fenced; once more for what they did before to be seen here
      await this.#settle(2);
      const fencedBefore = this.#fenced.length;
      const open = await this.#undecided();
      const isClean = open.length === 0 && this.#fenced.length === fencedBefore;
      clean = isClean ? clean + 1 : 0;
      if (open.length === 0) continue;
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
    await this.#settle(1);
  }

  /** Waits until what others did, `times` settling times ago, is listed here. */
  async #settle(times: number): Promise<void> {
    const { settleMs = 0 } = this.#context.store;
    if (settleMs > 0) await this.#context.clock.sleep(times * settleMs, this.#options.signal);
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
  async #rewrite(
    plan: Plan,
    now: Survey,
  ): Promise<{ superseded: string[]; copied: number; written: readonly string[] }> {
    const { packs, entries, copies, ...planned } = await planSegments(this.#context, now, plan);
    // what the store did not let an earlier collection delete must not count again when the outcome of that one goes
    const superseded =
      planned.superseded.length > 0 ? [...new Set([...planned.superseded, ...now.index.replaced])] : [];
    const sink = new PackSink(this.#context, this.#session, { isUnique: true });
    const total = copies.reduce((sum, { from }) => sum + from.length, 0);
    await copyBlobs(
      this.#context,
      { index: now.index, copies },
      {
        sink,
        signal: this.#options.signal,
        onCopied: (done) => this.#options.onProgress?.({ phase: 'rewriting packs', done, total }),
      },
    );
    // whoever reads the index looks at outcomes only of sessions that have segments
    await sink.finish({ packs, entries, evenIfEmpty: superseded.length > 0 });
    const until = longestLock(now);
    await retainSession(this.#context, this.#session, until);
    const time = new Date(this.#context.clock.now()).toISOString();
    const { digest } = await decide(this.#context, {
      session: this.#session,
      state: 'committed',
      kind: 'collection',
      time,
      superseded,
    });
    if (digest === undefined) throw fenced();
    await retainSession(this.#context, this.#session, until);
    return { superseded, copied: sink.storedBytes, written: sink.keys };
  }

  #progress(phase: string): void {
    this.#options.onProgress?.({ phase, done: 0 });
  }
}

const fenced = (cause?: unknown) =>
  new PrimaError('refused', 'another collection gave up on this one; nothing was deleted', { cause });
