/**
 * The way out of damage that stops collections: lost entries of the log and lost outcomes. See "Repair" of the format. Nothing is
 * deleted and nothing changed; each write is new, and a repair that was interrupted is gone on with by the next.
 */
import { PrimaError, RemoteError, throwIfAborted } from '@prima/base';
import { type Context, putSigned } from '../context.ts';
import type { RepairOptions, RepairReport } from '../contract.ts';
import { blobType } from '../format/blob.ts';
import { type LogRoot, loggedSessions, logKey } from '../session/log-chain.ts';
import { mendedNumbers } from '../session/read-outcome.ts';
import { digestOf, mendedKey, type Outcome, outcomeKey } from '../session/sessions.ts';
import { checkingStore } from './checking-store.ts';
import { KnownContent } from './known-content.ts';
import { planRepair, type RepairPlan } from './repair-plan.ts';

const maxRaces = 100;

export async function repair(original: Context, options: RepairOptions): Promise<RepairReport> {
  const { apply = false, copies = [], signal } = options;
  const doing = 'repairing';
  const context: Context = { ...original, store: checkingStore(original.store) };
  if (apply) {
    context.keyring.signer(doing);
    await context.keyring.refresh();
  }
  const known = new KnownContent(original, copies);
  const done: RepairReport = { applied: apply, steps: [], unknownPoints: 0 };
  for (let race = 0; race < maxRaces; race += 1) {
    throwIfAborted(signal, doing);
    const plan = await planRepair(context, known, options);
    addTo(done, plan);
    if (!apply || isEmpty(plan)) return done;
    if (!(await carryOut(context, plan))) continue; // somebody else has appended to the log
    if (plan.mustAccept) await context.log.accept();
    else await context.log.readAll();
    return done;
  }
  throw new RemoteError('the log of roots is being written by too many others; try again', {
    retryable: true,
  });
}

function isEmpty({ steps, unknownPoints, roots, runs }: RepairPlan): boolean {
  return steps.length === 0 && unknownPoints === 0 && roots.length === 0 && runs.length === 0;
}

/** What a second look found instead of the first is said once. */
function addTo(done: RepairReport, { steps, unknownPoints, outcomes }: RepairPlan): void {
  const isSaid = (object: string) => done.steps.some((step) => step.object === object);
  done.steps.push(...steps.filter(({ object }) => !isSaid(object)));
  done.unknownPoints = Math.max(done.unknownPoints, unknownPoints);
  const ends = outcomes.flatMap(({ outcome }) => outcome.keptUntil ?? []).toSorted();
  const last = ends.at(-1);
  if (last !== undefined) done.keptUntil = last;
}

/** In the order of the format. False when somebody else has appended to the log since it was looked at. */
async function carryOut(context: Context, plan: RepairPlan): Promise<boolean> {
  const { chain, runs } = plan;
  const time = new Date(context.clock.now()).toISOString();
  for (const { seq, stored } of plan.entries) await context.store.putIfAbsent(logKey(seq), stored);
  for (const hole of plan.holes) {
    const { seq, ...rest } = hole;
    const entry = { seq, ...rest, event: 'hole', time };
    await putSigned(context, logKey(seq), blobType.logEntry, entry);
  }
  const roots = [...plan.roots];
  for (const { outcome, event, digest } of plan.outcomes) {
    const stored = await putOutcome(context, outcome);
    if (outcome.state !== 'lost') await context.catalogue.add({ outcome, digest: stored });
    if (event === 'committed') roots.push({ event, session: outcome.session, outcome: stored });
    else if (event === 'lost') roots.push({ event, session: outcome.session, outcome: digest });
  }
  if (runs.length === 0 && roots.length === 0) return true;
  const points = pointsLeft(plan, roots);
  return await context.log.appendRepair(chain.head, { points, lost: runs, roots });
}

function pointsLeft({ chain }: RepairPlan, roots: LogRoot[]): number {
  const time = '';
  const after = { seq: 0, previous: '', points: 0, event: 'repaired' as const, roots, time };
  const sessions = loggedSessions([...chain.entries, after]);
  return [...sessions.values()].filter(({ event }) => event === 'committed').length;
}

/** Under its own name where that is free, else besides; the SHA-256 of what is stored. */
async function putOutcome(context: Context, outcome: Outcome): Promise<string> {
  const { session } = outcome;
  const own = await putSigned(context, outcomeKey(session), blobType.outcome, outcome);
  if (own.result === 'created') return digestOf(own.stored);
  const [last = 0] = (await mendedNumbers(context, session)).reverse();
  const mended = await putSigned(context, mendedKey(session, last + 1), blobType.outcome, outcome);
  if (mended.result === 'exists')
    throw new PrimaError('busy', 'somebody else repairs the repository; look again when that has ended', {
      retryable: true,
    });
  return digestOf(mended.stored);
}
