/**
 * The repository's protocol as an explicit-state model (docs/format/repository.md: Sessions, Collection): what is
 * stored, and what each process knows. Blobs, packs, segments and sessions are bits of small sets.
 *
 * Two blobs, A and B, are stored in pack p0 by session I, whose point needs A; the point of session J needs B and
 * shares it from p0. Writers want some of them again and share what they may. Leases are not modelled: a collector
 * may give up on anybody at any time, so whatever holds here holds with every clock.
 */
import type { State } from './explore.ts';

export const blob = { a: 1, b: 2 } as const;

/** Sessions, as bits. `child` is the checkpoint of writer 0. */
export const session = { i: 1, w0: 2, w1: 4, w2: 8, child: 16, k0: 32, k1: 64, j: 128 } as const;
export const writerSession = [session.w0, session.w1, session.w2] as const;
export const collectorSession = [session.k0, session.k1] as const;

/** Packs, as bits: that of I, one a writer, the copies that collectors make, and one that a dead collection left. */
export const pack = { p0: 1, w0: 2, w1: 4, w2: 8, copy0: 16, copy1: 32, left: 64 } as const;
export const writerPack = [pack.w0, pack.w1, pack.w2] as const;
export const copyPack = [pack.copy0, pack.copy1] as const;

/** A segment has the bit of the session that wrote it. J has none. */

let size = 0;
const byte = () => size++;

/** What is stored. */
export const at = {
  packs: byte(),
  segments: byte(),
  markers: byte(),
  committed: byte(),
  aborted: byte(),
  /** Marks of forgetting, until the session's objects are removed. */
  marks: byte(),
  /** Which were ever forgotten, so that the end can be told from a loss; nobody looks at this. */
  forgotten: byte(),
  /** The pin of the reader, 0 or 1, and what it does: see readerAt. */
  pin: byte(),
  reader: byte(),
} as const;

/** What a writer knows. Index by its number. */
export const writer = [0, 1, 2].map(() => ({
  pc: byte(),
  condemned: byte(),
  listed: byte(),
  /** Blobs it stores itself: the contents of its pack. */
  own: byte(),
  /** Blobs that it takes over from its parent, whatever the index says. */
  kept: byte(),
})) as readonly WriterPlaces[];

export interface WriterPlaces {
  pc: number;
  condemned: number;
  listed: number;
  own: number;
  kept: number;
}

/** What a collector stores and knows. */
export const collector = [0, 1].map(() => ({
  pc: byte(),
  /** Its condemned list, 0 when there is none. */
  condemned: byte(),
  /** The outcome's `superseded`, and the packs and copied blobs of its segment. */
  superseded: byte(),
  segment: byte(),
  copied: byte(),
  listed: byte(),
  pin: byte(),
  forgotten: byte(),
  forgottenFirst: byte(),
  kept: byte(),
  index: byte(),
  decided: byte(),
  dead: byte(),
  rewrite: byte(),
  orphans: byte(),
  fence: byte(),
  current: byte(),
  /** Packs on condemned lists when it read the index. */
  known: byte(),
})) as readonly CollectorPlaces[];

export interface CollectorPlaces {
  pc: number;
  condemned: number;
  superseded: number;
  segment: number;
  copied: number;
  listed: number;
  pin: number;
  forgotten: number;
  forgottenFirst: number;
  kept: number;
  index: number;
  decided: number;
  dead: number;
  rewrite: number;
  orphans: number;
  fence: number;
  current: number;
  known: number;
}

const stateBytes = size;

/** Deviations from the protocol, each of which loses data. */
export interface Variant {
  indexBeforeMarker?: boolean;
  ignoresCondemned?: boolean;
  outcomeBeforePack?: boolean;
  noWait?: boolean;
  noFence?: boolean;
  noSecondMark?: boolean;
  deletesBeforeOutcome?: boolean;
  condemnsAfterListing?: boolean;
  removesAbortedOutcomes?: boolean;
  pinAfterLook?: boolean;
  /** A session that the second look was the first to see forgotten is removed at once. */
  removesNewlyForgotten?: boolean;
  /** Copied packs are named after their blobs alone, so that two collections make the same. */
  copiesShareNames?: boolean;
  /** Of the writer with a checkpoint. */
  childUnchecked?: boolean;
  childCheckedBeforeMarker?: boolean;
  /** The collector does not list again after it fenced. */
  noRelisting?: boolean;
  /** One listing without undecided sessions is enough. */
  oneCleanListing?: boolean;
  abortDiscardsCheckpoint?: boolean;
  /** A collection that leaves nothing of what it supersedes writes no segment, and nobody looks at its outcome. */
  noEmptySegment?: boolean;
  /** A tracked parent that was there when the writer chose it is not looked at again. */
  parentNotLookedAt?: boolean;
  /** It is looked at before the marker is there. */
  parentLookedAtBeforeMarker?: boolean;
  /** Of a session that is removed the mark goes first. */
  marksRemovedFirst?: boolean;
}

export interface Setup {
  /** Blobs that each writer wants; its length is their number. */
  wants: readonly number[];
  collectors: 0 | 1 | 2;
  /** What p0 holds and whether there is J's point, which keeps B alive. */
  shared: boolean;
  reader?: boolean;
  /** Writer 0 makes a checkpoint before it commits. */
  checkpoint?: boolean;
  /** Writers may abort, and then take back what they stored. */
  aborts?: boolean;
  /** Writer 0 builds on the point of I, where that is there when it begins: A is not looked up then. */
  tracked?: boolean;
  /** Writer 0's point is forgotten at some time, too. */
  forgets?: boolean;
  /** A collection that died left a copy of B behind. */
  leftCopy?: boolean;
  variant?: Variant;
}

export function contentOf(setup: Setup, state: State, bit: number): number {
  switch (bit) {
    case pack.p0:
      return setup.shared ? blob.a | blob.b : blob.a;
    case pack.w0:
      return state[writer[0].own];
    case pack.w1:
      return state[writer[1].own];
    case pack.w2:
      return state[writer[2].own];
    case pack.copy0:
      return setup.variant?.copiesShareNames ? blob.b : state[collector[0].copied];
    case pack.copy1:
      return state[collector[1].copied];
    default:
      return blob.b;
  }
}

/** The packs that a segment names. */
export function packsOf(state: State, segment: number): number {
  switch (segment) {
    case session.i:
      return pack.p0;
    case session.w0:
    case session.child:
      return pack.w0;
    case session.w1:
      return pack.w1;
    case session.w2:
      return pack.w2;
    case session.k0:
      return state[collector[0].segment];
    default:
      return state[collector[1].segment];
  }
}

/** The single bits of a set. */
export function* bits(set: number): Generator<number> {
  for (let bit = 1; bit <= set; bit <<= 1) if (set & bit) yield bit;
}

/** Segments that count, of those that a listing gave: the same rule as RepositoryIndex.load. */
export function effective(state: State, listed: number): number {
  const counted = listed & state[at.committed];
  let superseded = 0;
  for (const [n, places] of collector.entries())
    if (counted & collectorSession[n]) superseded |= state[places.superseded];
  return counted & ~superseded;
}

/** Blobs that a point needs. */
export function pointOf(setup: Setup, bit: number): number {
  if (bit === session.i) return blob.a;
  if (bit === session.j) return blob.b;
  const number = (writerSession as readonly number[]).indexOf(bit);
  return number >= 0 ? (setup.wants[number] ?? 0) : 0;
}

export const points = session.i | session.j | session.w0 | session.w1 | session.w2;

/** 0: has not begun, 1: pinned (with `pinAfterLook`: has looked), 2: reads, 3: has ended, 4: has found no mark. */
export const readerReads = 2;
export const readerLooked = 4;

/** Whatever loses data, in words. */
export function faultOf(setup: Setup, state: State): string | undefined {
  const counted = effective(state, state[at.segments]);
  let there = 0;
  for (const segment of bits(counted)) {
    for (const name of bits(packsOf(state, segment))) {
      if (!(state[at.packs] & name)) return `segment ${segment} names pack ${name}, which is gone`;
      there |= contentOf(setup, state, name);
    }
  }
  let needed = state[at.reader] === readerReads ? session.i : 0;
  needed |= state[at.committed] & ~state[at.forgotten] & points;
  for (const bit of bits(needed)) {
    const lost = pointOf(setup, bit) & ~there;
    if (lost) return `the point of session ${bit} has lost blob ${lost}`;
  }
  for (const [number, places] of writer.entries()) {
    const bit = writerSession[number];
    if (state[places.pc] >= 98 && !(state[at.committed] & bit) && !(state[at.forgotten] & bit))
      return `writer ${number} was told that it committed, and its point is not there`;
  }
  return undefined;
}

export function initialState(setup: Setup): State {
  const state = new Uint8Array(stateBytes);
  const left = setup.variant?.copiesShareNames ? pack.copy0 : pack.left;
  state[at.packs] = pack.p0 | (setup.leftCopy ? left : 0);
  state[at.segments] = session.i;
  state[at.committed] = session.i | (setup.shared ? session.j : 0);
  return state;
}
