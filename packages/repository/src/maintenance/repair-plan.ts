/**
 * What a repair of the log of roots and of outcomes would do, and why: see "Repair" of the format. Only looks. What is known of a
 * lost object elsewhere is in `known-content.ts`; `repair.ts` carries the plan out.
 */
import { forEachBounded, throwIfAborted, toPrimaError } from '@prima/base';
import type { Context } from '../context.ts';
import type { RepairOptions, RepairStep } from '../contract.ts';
import {
  chainOf,
  type Chain,
  compare,
  isMissing,
  isRead,
  logKey,
  type LoggedSession,
  loggedSessions,
  type LogRoot,
  type LogSlots,
  lostRuns,
  type LostRun,
  type ReadEntry,
} from '../session/log-chain.ts';
import { refusal } from '../session/root-log.ts';
import type { Decided } from '../session/outcome-catalogue.ts';
import { isOfSignerInForce, isUnreadable, readOutcome } from '../session/read-outcome.ts';
import { listSessions, type Outcome, outcomeKey, type SessionEntry } from '../session/sessions.ts';
import type { KnownContent } from './known-content.ts';
import { lostOutcome } from './lost-outcome.ts';
import { isVerified } from './survey.ts';

/** An outcome that is to be put in the place of one that is lost. */
export interface NewOutcome {
  outcome: Outcome;
  /** Whether the log has to say so. */
  event: 'committed' | 'lost' | undefined;
  /** What the log calls it now, for one that is given up. */
  digest: string;
}

export interface RepairPlan {
  steps: RepairStep[];
  unknownPoints: number;
  /** Entries of the log that are to be stored again as they were. */
  entries: { seq: number; stored: Uint8Array }[];
  /** Missing numbers of the log that are to be filled. */
  holes: { seq: number; previous: string; points: number }[];
  outcomes: NewOutcome[];
  runs: LostRun[];
  /** Known already; those of `outcomes` come besides. */
  roots: LogRoot[];
  chain: Chain;
  /** This computer's memory is of an entry that is lost: it has to take the log as it is. */
  mustAccept: boolean;
}

/** Outcomes that are read at once. */
const concurrency = 16;

/** What is there of the sessions. */
interface Found {
  entries: Map<string, SessionEntry>;
  readable: Map<string, Decided>;
  damaged: Map<string, string>;
}

export async function planRepair(
  context: Context,
  known: KnownContent,
  options: RepairOptions,
): Promise<RepairPlan> {
  const { slots: stored, seen } = await context.log.survey();
  const { signers } = context.keyring.keySet;
  const { slots, entries, named } = await refill(context, known, stored, seen);
  const runs = lostRuns(slots, signers, seen);
  const chain = chainOf(slots, signers, runs);
  const covered = [...chain.runs];
  const gone = seen && compare(seen, slots, covered);
  const isLost = seen && covered.some(({ from, seq }) => from <= seen.seq && seen.seq <= seq);
  if (gone !== undefined && !isLost) throw refusal('repairing', gone);
  const plan: RepairPlan = {
    steps: [],
    unknownPoints: 0,
    entries,
    holes: runs.flatMap((run) => holesIn(run, slots)),
    outcomes: [],
    runs,
    roots: [],
    chain,
    mustAccept: gone !== undefined,
  };
  for (const { seq } of entries) {
    plan.steps.push({ object: logKey(seq), fault: 'it is missing', remedy: 'restored' });
  }
  for (const run of runs) plan.steps.push(...stepsOf(run, slots));
  const found = await findSessions(context, options.signal);
  await planSessions({ context, known, options, plan, found, named });
  return plan;
}

interface Planning {
  context: Context;
  known: KnownContent;
  options: RepairOptions;
  plan: RepairPlan;
  found: Found;
  /** What copies of lost entries say. */
  named: readonly LogRoot[];
}

async function planSessions(planning: Planning): Promise<void> {
  const { plan, found } = planning;
  const logged = loggedSessions(plan.chain.entries);
  if (plan.runs.length > 0) await planRoots(planning, logged);
  await planUnlogged(planning, logged);
  await planVanished(planning, logged);
  for (const [id, fault] of found.damaged) await planOutcome(planning, id, { fault, logged });
  for (const id of missing(found, logged))
    await planOutcome(planning, id, { fault: 'it is missing', logged });
  for (const [id, decided] of found.readable) {
    if (decided.outcome.mended) await planMended(planning, decided, logged.get(id));
  }
}

/** Points that collections do not log, because a signer made them whose time is over. */
async function planUnlogged(
  { context, plan, found }: Planning,
  logged: Map<string, LoggedSession>,
): Promise<void> {
  for (const [id, { outcome, digest }] of found.readable) {
    const { point } = outcome;
    if (outcome.state !== 'committed' || !point || logged.has(id)) continue;
    if (await isOfSignerInForce(context, id)) continue;
    const fault = 'the log does not know it, and it is signed with a key that was replaced: is it yours?';
    plan.steps.push({ object: outcomeKey(id), fault, remedy: 'acknowledged', point: pointOf(point) });
    addRoot(plan, logged, { event: 'committed', session: id, outcome: digest });
  }
}

/** What the lost entries must have said: of what is there, as copies tell, and as the numbers of points do. */
async function planRoots(
  { context, plan, found, named }: Planning,
  logged: Map<string, LoggedSession>,
): Promise<void> {
  for (const root of await rootsThere(context, found, logged)) addRoot(plan, logged, root);
  for (const root of named) {
    if (found.readable.has(root.session)) continue;
    if (root.event === 'forgotten' || !logged.has(root.session)) addRoot(plan, logged, root);
  }
  const { points, seq } = plan.chain.head;
  const isCounted = plan.runs.every((run) => run.seq < seq);
  const gone = missing(found, logged);
  const tooMany = countedIn(logged) - points;
  // the lost entries have forgotten more than they have committed: then what is gone was forgotten and collected
  if (isCounted && gone.length <= tooMany) {
    for (const session of gone) {
      const [outcome = ''] = logged.get(session)?.outcomes ?? [];
      addRoot(plan, logged, { event: 'forgotten', session, outcome });
    }
  }
  if (isCounted) plan.unknownPoints = Math.max(0, points - countedIn(logged));
}

/** Sessions of which the log says that they are points, and of which there is nothing. */
function missing({ readable, damaged }: Found, logged: ReadonlyMap<string, LoggedSession>): string[] {
  return [...logged].flatMap(([id, { event }]) =>
    event === 'committed' && !readable.has(id) && !damaged.has(id) ? [id] : [],
  );
}

function countedIn(logged: ReadonlyMap<string, LoggedSession>): number {
  return [...logged.values()].filter(({ event }) => event === 'committed').length;
}

function addRoot(plan: RepairPlan, logged: Map<string, LoggedSession>, root: LogRoot): void {
  const { event, session, outcome } = root;
  plan.roots.push(root);
  const outcomes = logged.get(session)?.outcomes ?? new Set<string>();
  logged.set(session, { event, outcomes: outcomes.add(outcome) });
}

/** An outcome that does not open or is not there: restored, or given up. */
async function planOutcome(
  { context, known, options, plan, found }: Planning,
  id: string,
  { fault, logged }: { fault: string; logged: ReadonlyMap<string, LoggedSession> },
): Promise<void> {
  const log = logged.get(id);
  const content = log?.event === 'forgotten' ? undefined : await known.outcome(id, log?.outcomes);
  const time = new Date(context.clock.now()).toISOString();
  const object = outcomeKey(id);
  if (content) {
    planContent(plan, content, { object, fault, time });
    return;
  }
  const lost = await lostOutcome(context, { id, entry: found.entries.get(id), log, time, options });
  const { isPoint, outcome } = lost;
  const committed = plan.chain.entries.find(({ event, session }) => event === 'committed' && session === id);
  plan.steps.push({
    object,
    fault,
    remedy: isPoint ? 'given-up' : 'acknowledged',
    ...(isPoint && { point: { id, ...(committed && { time: committed.time }) } }),
  });
  const [digest = ''] = log?.outcomes ?? [];
  plan.outcomes.push({ outcome, event: log?.event === 'committed' ? 'lost' : undefined, digest });
}

function planContent(
  plan: RepairPlan,
  { outcome, digest }: Decided,
  about: { object: string; fault: string; time: string },
): void {
  const { object, fault, time } = about;
  const { point } = outcome;
  plan.steps.push({ object, fault, remedy: 'restored', ...(point && { point: pointOf(point) }) });
  const event = outcome.state === 'committed' && point ? 'committed' : undefined;
  plan.outcomes.push({ outcome: { ...outcome, mended: { time, of: digest } }, event, digest });
}

/** A session without an outcome looks as if it were running: only what is known of it elsewhere tells that it has ended. */
async function planVanished(
  { context, known, plan, found }: Planning,
  logged: ReadonlyMap<string, LoggedSession>,
): Promise<void> {
  const time = new Date(context.clock.now()).toISOString();
  for (const { id, hasOutcome, isForgotten } of found.entries.values()) {
    if (hasOutcome || isForgotten || logged.has(id)) continue;
    const content = await known.outcome(id, undefined);
    if (content) planContent(plan, content, { object: outcomeKey(id), fault: 'it is missing', time });
  }
}

/** What an earlier repair has put in the place of an outcome: it may not have ended, or more is known by now. */
async function planMended(
  { context, known, options, plan }: Planning,
  { outcome, digest }: Decided,
  log: LoggedSession | undefined,
): Promise<void> {
  const { session: id, state, kind, mended, keptUntil, point } = outcome;
  const object = outcomeKey(id);
  const fault = 'the repair of it did not end';
  if (state === 'committed' && point && log?.event !== 'forgotten' && !log?.outcomes.has(digest)) {
    plan.steps.push({ object, fault, remedy: 'restored', point: pointOf(point) });
    plan.roots.push({ event: 'committed', session: id, outcome: digest });
  }
  if (state !== 'lost') return;
  const content = await known.outcome(id, log?.outcomes);
  const time = new Date(context.clock.now()).toISOString();
  if (content && log?.event !== 'forgotten') {
    planContent(plan, content, { object, fault: 'it was given up, and is known again', time });
    return;
  }
  if (log?.event === 'committed') {
    plan.steps.push({ object, fault, remedy: 'given-up', point: { id } });
    plan.roots.push({ event: 'lost', session: id, outcome: mended?.of ?? digest });
  }
  if (options.keepMs === 0 && Date.parse(keptUntil ?? '') > context.clock.now()) {
    plan.steps.push({
      object,
      fault: `its data is kept until ${keptUntil}`,
      remedy: 'released',
      point: { id },
    });
    const { keptUntil: _until, ...rest } = outcome;
    plan.outcomes.push({ outcome: { ...rest, kind, mended: { ...mended, time } }, event: undefined, digest });
  }
}

/** What is there that no entry of the log names any more: what the lost ones named, or nobody has logged yet. */
async function rootsThere(
  context: Context,
  { readable, entries }: Found,
  logged: ReadonlyMap<string, LoggedSession>,
): Promise<LogRoot[]> {
  const roots: LogRoot[] = [];
  for (const [session, { outcome, digest }] of readable) {
    if (outcome.state !== 'committed' || !outcome.point) continue;
    if (!logged.has(session)) roots.push({ event: 'committed', session, outcome: digest });
    const isMarked = entries.get(session)?.isForgotten === true && logged.get(session)?.event !== 'forgotten';
    if (isMarked && (await isVerified(context, session)))
      roots.push({ event: 'forgotten', session, outcome: digest });
  }
  return roots;
}

async function findSessions(context: Context, signal: AbortSignal | undefined): Promise<Found> {
  const found: Found = { entries: new Map(), readable: new Map(), damaged: new Map() };
  const listed = await listSessions(context);
  for (const entry of listed) found.entries.set(entry.id, entry);
  await forEachBounded(
    listed.filter(({ hasOutcome }) => hasOutcome),
    concurrency,
    async ({ id }) => {
      throwIfAborted(signal, 'reading the outcomes of sessions');
      try {
        found.readable.set(id, await readOutcome(context, id));
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        if (error.code !== 'not-found') found.damaged.set(id, error.message);
      }
    },
  );
  return found;
}

/**
 * Looks for lost entries of the log in other places. Those that are missing can be stored again; of the others it is known
 * at least what they said.
 */
async function refill(
  context: Context,
  known: KnownContent,
  stored: LogSlots,
  seen: { seq: number; digest: string } | undefined,
): Promise<{ slots: LogSlots; entries: RepairPlan['entries']; named: LogRoot[] }> {
  const slots = [...stored];
  const entries: RepairPlan['entries'] = [];
  const named: LogRoot[] = [];
  for (const { from, seq: last, digest } of lostRuns(stored, context.keyring.keySet.signers, seen)) {
    let wanted = digest;
    for (let seq = last; seq >= from; seq -= 1) {
      const slot = slots[seq - 1];
      const copy = await known.logEntry(seq, wanted);
      if (!copy) break;
      if (isMissing(slot)) {
        slots[seq - 1] = copy;
        entries.push({ seq, stored: copy.stored });
      } else named.push(...rootOf(copy));
      wanted = copy.entry.previous;
    }
  }
  return { slots, entries, named: named.reverse() };
}

function rootOf({ entry: { event, session, outcome } }: ReadEntry): LogRoot[] {
  const isRoot = (event === 'committed' || event === 'forgotten') && session !== undefined;
  return isRoot ? [{ event, session, outcome: outcome ?? '' }] : [];
}

function holesIn(run: LostRun, slots: LogSlots): RepairPlan['holes'] {
  const holes: RepairPlan['holes'] = [];
  for (let seq = run.from; seq <= run.seq; seq += 1) {
    if (isMissing(slots[seq - 1])) holes.push({ seq, previous: run.previous, points: run.points });
  }
  return holes;
}

function stepsOf({ from, seq: last }: LostRun, slots: LogSlots): RepairStep[] {
  const steps: RepairStep[] = [];
  for (let seq = from; seq <= last; seq += 1) {
    const slot = slots[seq - 1];
    let fault = 'the entry after it does not follow it';
    if (slot && !isRead(slot))
      fault = isMissing(slot) ? 'it is missing' : toPrimaError(slot, 'reading').message;
    else if (slot?.entry.event === 'hole') fault = 'the repair of it did not end';
    steps.push({ object: logKey(seq), fault, remedy: 'acknowledged' });
  }
  return steps;
}

function pointOf({ id, machine, time }: { id: string; machine: { name: string }; time: string }) {
  return { id, machine: machine.name, time };
}
