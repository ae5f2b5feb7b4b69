/**
 * The log of roots as a chain: how one entry follows another, what stands for entries that are lost, and what all of them say
 * together. See "Log of roots" of the format. Pure.
 */
import { IntegrityError, type PrimaError } from '@prima/base';

export type PointEvent = 'committed' | 'forgotten' | 'lost';

/** What an entry says of one session. */
export interface LogRoot {
  event: PointEvent;
  session: string;
  /** SHA-256 of the stored outcome; of one that is lost what it was, where that is known. */
  outcome: string;
}

/** Entries that cannot be read, from one number to another, and the head of the log after them. */
export interface LostRun extends LogHead {
  from: number;
  /** Digest of the entry before the first. */
  previous: string;
}

export interface LogEntry {
  seq: number;
  previous: string;
  /** How many restore points there should be after this. */
  points: number;
  event: 'committed' | 'forgotten' | 'signer' | 'hole' | 'repaired';
  /** Of one `committed` or `forgotten`. */
  session?: string;
  outcome?: string;
  /** Of a `signer`: the public key of who signs from here on. */
  signer?: string;
  /** Of a `repaired`. */
  lost?: LostRun[];
  roots?: LogRoot[];
  time: string;
}

/** The end of the log, as far as it was read. */
export interface LogHead {
  seq: number;
  /** Of the stored bytes of the entry. */
  digest: string;
  points: number;
  /** Who signs the next entry. */
  signer: string;
}

export interface ReadEntry {
  entry: LogEntry;
  /** Who signed it. */
  signer: string;
  digest: string;
}

/** What is under each number, from 1; an error where there is nothing, or nothing that opens. */
export type LogSlots = readonly (ReadEntry | PrimaError)[];

export interface Chain {
  head: LogHead;
  /** Those that count. */
  entries: LogEntry[];
  runs: LostRun[];
}

export const noDigest = '0'.repeat(64);

export const logKey = (seq: number) => `log/${String(seq).padStart(10, '0')}`;

/** Before the first entry. @param signers of the newest key set, in the order in which they were in force */
export function emptyHead(signers: readonly string[]): LogHead {
  return { seq: 0, digest: noDigest, points: 0, signer: signers[0] ?? '' };
}

/** The head after `next`, or undefined when it does not continue `head`. */
export function follow(head: LogHead, next: ReadEntry, signers: readonly string[]): LogHead | undefined {
  const { entry, digest, signer: by } = next;
  const { event, points } = entry;
  if (entry.seq !== head.seq + 1 || entry.previous !== head.digest || event === 'hole') return undefined;
  const wanted = event === 'repaired' ? points : head.points + pointsBy(event);
  if (points !== wanted) return undefined;
  const signer = event === 'signer' ? signers[signers.indexOf(head.signer) + 1] : head.signer;
  // who made a new signer may have ended before the log said so: the key set names it, so that it may say so itself
  const isLater = event === 'signer' && signers.indexOf(by) > signers.indexOf(head.signer);
  if ((by !== head.signer && !isLater) || signer === undefined) return undefined;
  if (event === 'signer' && entry.signer !== signer) return undefined;
  return { seq: entry.seq, digest, points, signer };
}

/**
 * Raises `integrity` where the log has a gap or an entry that does not follow, unless a repair stands for it.
 * @param more runs for which a repair is about to stand
 */
export function chainOf(slots: LogSlots, signers: readonly string[], more: readonly LostRun[] = []): Chain {
  const chain: Chain = { head: emptyHead(signers), entries: [], runs: [] };
  const repaired = repairedRuns(slots);
  for (const run of more) repaired.set(run.from, run);
  while (chain.head.seq < slots.length) {
    const seq = chain.head.seq + 1;
    const run = repaired.get(seq);
    const slot = slots[seq - 1];
    if (run) {
      if (!bridges(chain.head, run, signers)) throw doesNotFollow(seq);
      chain.head = headOf(run);
      chain.runs.push(run);
    } else if (isRead(slot)) {
      const head = follow(chain.head, slot, signers);
      if (!head) throw slot.entry.event === 'hole' ? unfinished(seq) : doesNotFollow(seq);
      chain.head = head;
      chain.entries.push(slot.entry);
    } else throw slot ?? doesNotFollow(seq);
  }
  return chain;
}

/**
 * The runs that a new repair has to stand for: what `chainOf` raises about, and whether or not it does, nothing that a repair
 * stands for already.
 * @param knownEnd head after the last entry, where somebody remembers its digest
 */
export function lostRuns(
  slots: LogSlots,
  signers: readonly string[],
  knownEnd?: { seq: number; digest: string },
): LostRun[] {
  const repaired = repairedRuns(slots);
  const bad = badSeqs(slots, signers, repaired);
  const runs: LostRun[] = [];
  let head = emptyHead(signers);
  while (head.seq < slots.length) {
    const from = head.seq + 1;
    const old = repaired.get(from);
    const slot = slots[from - 1];
    if (old && !bad.has(from)) head = headOf(old);
    else if (!bad.has(from) && isRead(slot)) head = headAfter(head, slot);
    else {
      let seq = from;
      while (bad.has(seq + 1)) seq += 1;
      const after = headBetween(
        { before: head, seq, next: repaired.get(seq + 1) ?? slots[seq] },
        signers,
        knownEnd,
      );
      runs.push({ from, previous: head.digest, ...after });
      head = after;
    }
  }
  return runs;
}

/** What the entries say of each session: the last word, and every outcome that it may have. */
export interface LoggedSession {
  event: PointEvent;
  outcomes: Set<string>;
}

export function loggedSessions(entries: readonly LogEntry[]): Map<string, LoggedSession> {
  const sessions = new Map<string, LoggedSession>();
  for (const { event, session, outcome } of rootsOf(entries)) {
    const known = sessions.get(session) ?? { event, outcomes: new Set<string>() };
    known.event = event;
    known.outcomes.add(outcome);
    sessions.set(session, known);
  }
  return sessions;
}

/** The events of the entries, in order. */
export function rootsOf(entries: readonly LogEntry[]): LogRoot[] {
  return entries.flatMap(({ event, session = '', outcome = '', roots = [] }) => {
    if (event === 'repaired') return roots;
    return event === 'committed' || event === 'forgotten' ? [{ event, session, outcome }] : [];
  });
}

export function pointsBy(event: LogEntry['event'] | PointEvent): number {
  return event === 'committed' ? 1 : event === 'forgotten' ? -1 : 0;
}

export function isRead(slot: LogSlots[number] | undefined): slot is ReadEntry {
  return slot !== undefined && 'entry' in slot;
}

function headOf({ seq, digest, points, signer }: LostRun): LogHead {
  return { seq, digest, points, signer };
}

/** @param head where the signer is from, unless the entry changes it */
export function headAfter(head: Pick<LogHead, 'signer'>, { entry, digest }: ReadEntry): LogHead {
  return { seq: entry.seq, digest, points: entry.points, signer: entry.signer ?? head.signer };
}

/** Runs by their first number. A repair that was lost itself is not one. */
function repairedRuns(slots: LogSlots): Map<number, LostRun> {
  const runs = new Map<number, LostRun>();
  const isCovered = (seq: number) => [...runs.values()].some((run) => run.from <= seq && seq <= run.seq);
  for (let seq = slots.length; seq > 0; seq -= 1) {
    const slot = slots[seq - 1];
    if (!isRead(slot) || slot.entry.event !== 'repaired' || isCovered(seq)) continue;
    for (const run of slot.entry.lost ?? []) if (run.seq < seq) runs.set(run.from, run);
  }
  return runs;
}

function bridges(head: LogHead, run: LostRun, signers: readonly string[]): boolean {
  return (
    run.from === head.seq + 1 &&
    run.seq >= run.from &&
    run.previous === head.digest &&
    signers.indexOf(run.signer) >= signers.indexOf(head.signer)
  );
}

/** Numbers that no chain can go through, and that no repair stands for. */
function badSeqs(
  slots: LogSlots,
  signers: readonly string[],
  repaired: ReadonlyMap<number, LostRun>,
): Set<number> {
  const bad = new Set<number>();
  /** Undefined behind what is bad. */
  let head: LogHead | undefined = emptyHead(signers);
  /** Whether the entry before can be the one that does not belong there. */
  let mayBlame = false;
  for (let seq = 1; seq <= slots.length; ) {
    const run = repaired.get(seq);
    if (run && (!head || bridges(head, run, signers))) {
      head = headOf(run);
      seq = run.seq + 1;
      mayBlame = false;
      continue;
    }
    const slot = slots[seq - 1];
    const next: LogHead | undefined = isRead(slot) ? fit(head, slot, signers) : undefined;
    const follows = head === undefined || (isRead(slot) && follow(head, slot, signers) !== undefined);
    if (next && (follows || mayBlame)) {
      // who appended without seeing what came after has filled a gap: the entry before is the one too many
      if (!follows) bad.add(seq - 1);
      head = next;
      mayBlame = true;
    } else {
      bad.add(seq);
      head = undefined;
      mayBlame = false;
    }
    seq += 1;
  }
  return bad;
}

/** The head after `slot` if it can stand behind `head`, or behind something unknown. */
function fit(head: LogHead | undefined, slot: ReadEntry, signers: readonly string[]): LogHead | undefined {
  if (slot.entry.event === 'hole') return undefined;
  const isStale = head !== undefined && signers.indexOf(slot.signer) < signers.indexOf(head.signer);
  return isStale ? undefined : headAfter(head ?? { ...emptyHead(signers), signer: slot.signer }, slot);
}

/** The head after a run, as the entry behind it tells. */
function headBetween(
  { before, seq, next }: { before: LogHead; seq: number; next: LogSlots[number] | LostRun | undefined },
  signers: readonly string[],
  knownEnd: { seq: number; digest: string } | undefined,
): LogHead {
  if (next && 'from' in next) return { ...before, seq, digest: next.previous };
  if (isRead(next)) {
    const { event, points, previous } = next.entry;
    const signer = event === 'signer' ? signers[signers.indexOf(next.entry.signer ?? '') - 1] : next.signer;
    return {
      seq,
      digest: previous,
      points: event === 'repaired' ? before.points : points - pointsBy(event),
      signer: signer ?? before.signer,
    };
  }
  const digest = knownEnd?.seq === seq ? knownEnd.digest : noDigest;
  return { seq, digest, points: before.points, signer: signers.at(-1) ?? before.signer };
}

function doesNotFollow(seq: number): IntegrityError {
  return new IntegrityError(
    `${logKey(seq)} does not follow the entry before it: the log of roots is damaged, or was tampered with; see: prima repair`,
  );
}

function unfinished(seq: number): IntegrityError {
  return new IntegrityError(
    `${logKey(seq)} stands for an entry that is missing, and the repair that made it did not end; run it again: prima repair`,
  );
}

export function missingEntry(seq: number): IntegrityError {
  return new IntegrityError(
    `the log of roots has ${logKey(seq + 1)}, but ${logKey(seq)} is missing; see: prima repair`,
    { details: { missing: seq } },
  );
}

/** There is nothing under this number. */
export function isMissing(slot: LogSlots[number] | undefined): boolean {
  return slot === undefined || (!isRead(slot) && 'missing' in slot.details);
}

/** Says what is wrong when the entry that was seen is not there. */
export function compare(
  seen: { seq: number; digest: string },
  slots: LogSlots,
  runs: readonly LostRun[],
): string | undefined {
  const found = slots[seen.seq - 1];
  if (seen.seq === 0 || (found && 'entry' in found && found.digest === seen.digest)) return undefined;
  if (found === undefined) {
    return `the repository was rolled back or its log was cut: the log had ${seen.seq} entries when this computer last saw it, now it has ${slots.length}`;
  }
  const run = runs.find(({ from, seq }) => from <= seen.seq && seen.seq <= seq);
  if (run?.seq === seen.seq && run.digest === seen.digest) return undefined;
  if (run) {
    return `entry ${seen.seq} of the log, the last that this computer has seen, is lost; a repair stands for it, but nothing tells that it was the same`;
  }
  return `the repository was rolled back, or its log written anew: entry ${seen.seq} of the log is not the one that this computer has seen`;
}
