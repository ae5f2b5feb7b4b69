/** The collector of the model: the steps of "Collection", one call of the store each. */
import { pc } from './collector-places.ts';
import type { State } from './explore.ts';
import {
  at,
  bits,
  blob,
  type CollectorPlaces,
  collector,
  collectorSession,
  contentOf,
  copyPack,
  effective,
  pack,
  packsOf,
  pointOf,
  points,
  type Setup,
  session,
  type Variant,
} from './protocol-state.ts';
import type { Emit } from './writer-steps.ts';

/** What a survey knows when it marks: where each live blob is taken to be. */
interface Marks {
  /** Packs that the index names. */
  names: number;
  /** Segments that count. */
  current: number;
  /** Live blobs by pack. */
  live: Map<number, number>;
}

export function collectorSteps(setup: Setup, state: State, number: number, emit: Emit): void {
  new Collector(setup, state, number, emit).step();
}

class Collector {
  readonly #setup: Setup;
  readonly #variant: Variant;
  readonly #state: State;
  readonly #places: CollectorPlaces;
  readonly #bit: number;
  readonly #number: number;
  readonly #emit: Emit;

  constructor(setup: Setup, state: State, number: number, emit: Emit) {
    this.#setup = setup;
    this.#variant = setup.variant ?? {};
    this.#state = state;
    this.#places = collector[number];
    this.#bit = collectorSession[number];
    this.#number = number;
    this.#emit = emit;
  }

  step(): void {
    const state = this.#state;
    const k = this.#places;
    switch (state[k.pc]) {
      case pc.listPacks:
        return this.#go('lists the packs', pc.putMarker, (next) => (next[k.listed] = state[at.packs]));
      case pc.putMarker:
        return this.#go('puts its marker', pc.firstPins, (next) => (next[at.markers] |= this.#bit));
      case pc.firstPins:
      case pc.secondPins:
        return this.#go('reads the pins', state[k.pc] + 1, (next) => (next[k.pin] = state[at.pin]));
      case pc.firstSessions:
      case pc.secondSessions:
        return this.#readSessions(state[k.pc] === pc.firstSessions);
      case pc.firstIndex:
      case pc.secondIndex:
        return this.#go('lists the index', state[k.pc] + 1, (next) => {
          next[k.index] = state[at.segments];
          next[k.known] = collector.reduce((all, { condemned }) => all | state[condemned], 0);
        });
      case pc.firstMark:
      case pc.secondMark:
        return this.#mark(state[k.pc] === pc.firstMark);
      case pc.putCondemned:
        return this.#go('puts its condemned list', this.#afterCondemned(), (next) => {
          next[k.condemned] = state[k.dead] | state[k.rewrite] | state[k.orphans];
          next[k.listed] = 0;
        });
      case pc.lookForChild:
      case pc.lookAgainForChild:
        return this.#go("looks for the checkpoint's marker", state[k.pc] + 1, (next) => {
          next[k.fence] = this.#undecided() & session.child;
        });
      case pc.lookForOthers:
      case pc.lookAgainForOthers:
        return this.#lookForOthers(state[k.pc] === pc.lookForOthers);
      case pc.fence:
        return this.#fence();
      case pc.giveUp:
        return this.#go('takes its condemned list back', pc.putAborted, (next) => (next[k.condemned] = 0));
      case pc.putAborted:
        return this.#go('aborts', pc.ended, (next) => {
          if (!(state[at.committed] & this.#bit)) next[at.aborted] |= this.#bit;
          this.#forgetLocals(next);
        });
      default:
        return this.#write();
    }
  }

  /** From the rewriting to the end. */
  #write(): void {
    const state = this.#state;
    const k = this.#places;
    const copy = this.#variant.copiesShareNames ? pack.copy0 : copyPack[this.#number];
    const isEarly = this.#variant.deletesBeforeOutcome;
    switch (state[k.pc]) {
      case pc.putCopy:
        if (state[k.rewrite] & ~state[at.packs]) return this.#go('finds nothing to copy', pc.giveUp);
        return this.#go('puts its copies', pc.putSegment, (next) => {
          next[at.packs] |= copy;
          next[k.orphans] &= ~copy;
        });
      case pc.putSegment:
        return this.#go('puts its segment', isEarly ? pc.deleteStrays : pc.putOutcome, (next) => {
          if (state[k.segment] || (state[k.superseded] && !this.#variant.noEmptySegment))
            next[at.segments] |= this.#bit;
        });
      case pc.putOutcome:
        if (state[at.aborted] & this.#bit) return this.#go('finds that it was given up on', pc.giveUp);
        return this.#go(
          'commits',
          isEarly ? pc.deleteSessions : pc.deleteStrays,
          (next) => (next[at.committed] |= this.#bit),
        );
      case pc.deleteSuperseded: {
        const left = state[k.superseded] & state[at.segments];
        const first = left & -left;
        if (first)
          return this.#go(
            'deletes a superseded segment',
            pc.deleteSuperseded,
            (next) => (next[at.segments] &= ~first),
          );
        return this.#silently(pc.deletePacks);
      }
      case pc.deleteStrays: {
        const strays = state[k.decided] & ~state[k.current] & ~this.#bit;
        return this.#go(
          'deletes stray segments',
          pc.deleteSuperseded,
          (next) => (next[at.segments] &= ~strays),
        );
      }
      case pc.deletePacks: {
        const left = (state[k.dead] | state[k.rewrite] | state[k.orphans]) & state[at.packs];
        const first = left & -left;
        if (first)
          return this.#go(`deletes pack ${first}`, pc.deletePacks, (next) => (next[at.packs] &= ~first));
        return this.#silently(isEarly ? pc.putOutcome : pc.deleteSessions);
      }
      case pc.deleteSessions:
      case pc.deleteMarks: {
        const isFirst = state[k.pc] === pc.deleteSessions;
        const target = isFirst ? pc.deleteMarks : pc.deleteCondemned;
        if (isFirst === (this.#variant.marksRemovedFirst === true))
          return this.#go('removes marks', target, (next) => this.#removeMarks(next));
        return this.#go('removes outcomes', target, (next) => this.#removeSessions(next));
      }
      case pc.deleteCondemned:
        return this.#go('deletes condemned lists', pc.ended, (next) => {
          next[k.condemned] = 0;
          for (const [n, other] of collector.entries())
            if (state[k.decided] & collectorSession[n]) next[other.condemned] = 0;
          this.#forgetLocals(next);
        });
      default:
        return undefined;
    }
  }

  #afterCondemned(): number {
    if (this.#variant.noWait || this.#variant.condemnsAfterListing) return pc.secondPins;
    return this.#setup.checkpoint ? pc.lookForChild : pc.lookForOthers;
  }

  #readSessions(isFirst: boolean): void {
    const state = this.#state;
    const k = this.#places;
    const committed = state[at.committed] & (points | session.child);
    const pinned = state[k.pin] ? session.i : 0;
    let gone = committed & state[at.marks] & ~pinned;
    if (!isFirst && !this.#variant.removesNewlyForgotten) gone &= state[k.forgottenFirst];
    this.#go('lists the sessions', state[k.pc] + 1, (next) => {
      next[k.pin] = 0;
      if (isFirst) next[k.forgottenFirst] = gone;
      else next[k.forgottenFirst] = 0;
      next[k.forgotten] = gone;
      next[k.kept] = committed & ~gone;
      next[k.decided] = state[at.committed] | state[at.aborted];
    });
  }

  #undecided(): number {
    const state = this.#state;
    return state[at.markers] & ~state[at.committed] & ~state[at.aborted] & ~state[at.marks] & ~this.#bit;
  }

  #lookForOthers(isFirst: boolean): void {
    const state = this.#state;
    const k = this.#places;
    const open = state[k.fence] | (this.#undecided() & ~session.child);
    if (open === 0) {
      const isEnough = !isFirst || !this.#setup.checkpoint || this.#variant.oneCleanListing;
      return this.#go('finds everybody decided', isEnough ? this.#afterWaiting() : pc.lookAgainForChild);
    }
    if (this.#number === 1 && open & session.k0)
      this.#go('leaves it to the other', pc.giveUp, (next) => (next[k.fence] = 0));
    return this.#go(`gives up on sessions ${open}`, pc.fence, (next) => (next[k.fence] = open));
  }

  #afterWaiting(): number {
    if (this.#variant.condemnsAfterListing) return pc.putCondemned;
    return this.#variant.noSecondMark ? pc.secondMark : pc.secondPins;
  }

  #fence(): void {
    const state = this.#state;
    const k = this.#places;
    const first = state[k.fence] & -state[k.fence];
    if (first) {
      return this.#go(`fences session ${first}`, pc.fence, (next) => {
        next[k.fence] &= ~first;
        if (!this.#variant.noFence && !(state[at.committed] & first)) next[at.aborted] |= first;
      });
    }
    const isOver = this.#variant.noRelisting || this.#variant.noFence;
    const again = this.#setup.checkpoint ? pc.lookForChild : pc.lookForOthers;
    return this.#silently(isOver ? this.#afterWaiting() : again);
  }

  /** Marks, with every choice of the place of a blob that has several. */
  #mark(isFirst: boolean): void {
    const state = this.#state;
    const k = this.#places;
    const current = effective(state, state[k.index]);
    const gone = state[k.index] & ~state[at.segments];
    if (gone & (current | ~state[at.committed]))
      return this.#go('finds a segment gone, looks again', isFirst ? pc.firstIndex : pc.secondIndex);
    let names = 0;
    for (const segment of bits(current)) names |= packsOf(state, segment);
    let live = 0;
    for (const kept of bits(state[k.kept]))
      live |= kept === session.child ? contentOf(this.#setup, state, pack.w0) : pointOf(this.#setup, kept);
    for (const places of this.#choices(live, names)) {
      if (places === undefined) this.#go('refuses: a live blob is nowhere', pc.giveUp);
      else if (isFirst) this.#plan({ names, current, live: places });
      else this.#rescue({ names, current, live: places });
    }
  }

  *#choices(live: number, names: number): Generator<Map<number, number> | undefined> {
    let chosen: Map<number, number>[] = [new Map()];
    for (const wanted of bits(live)) {
      const places = [...bits(names)].filter((name) => contentOf(this.#setup, this.#state, name) & wanted);
      const staying = places.filter((name) => !(name & this.#state[this.#places.known]));
      const candidates = staying.length > 0 ? staying : places;
      if (candidates.length === 0) {
        yield undefined;
        return;
      }
      chosen = chosen.flatMap((places) =>
        candidates.map((name) => new Map(places).set(name, (places.get(name) ?? 0) | wanted)),
      );
    }
    yield* chosen;
  }

  #plan({ names, live }: Marks): void {
    const k = this.#places;
    let dead = 0;
    let partial = 0;
    for (const name of bits(names)) {
      const found = live.get(name) ?? 0;
      if (found === 0) dead |= name;
      else if (found !== contentOf(this.#setup, this.#state, name)) partial |= name;
    }
    const orphans = this.#state[k.listed] & ~names;
    const target = this.#variant.condemnsAfterListing ? pc.lookForOthers : pc.putCondemned;
    // a budget decides what is rewritten
    for (const rewrite of new Set([0, partial])) {
      this.#go(`marks; dead ${dead}, rewrite ${rewrite}, orphans ${orphans}`, target, (next) => {
        if (!this.#variant.noSecondMark) {
          next[k.kept] = 0;
          next[k.index] = 0;
          next[k.known] = 0;
          next[k.forgotten] = 0;
          next[k.decided] = 0;
        }
        next[k.dead] = dead;
        next[k.rewrite] = rewrite;
        next[k.orphans] = orphans;
      });
    }
  }

  #rescue({ names, current, live }: Marks): void {
    const state = this.#state;
    const k = this.#places;
    const orphans = state[k.orphans] & ~names;
    let dead = state[k.dead];
    let copied = 0;
    for (const [name, blobs] of live) {
      dead &= ~name;
      if (state[k.rewrite] & name) copied |= blobs;
    }
    const going = dead | state[k.rewrite];
    let superseded = 0;
    let kept = 0;
    for (const segment of bits(current)) {
      const isTouched = packsOf(state, segment) & going || state[k.forgotten] & segment;
      if (!isTouched) continue;
      superseded |= segment;
      kept |= packsOf(state, segment) & ~going;
    }
    if (superseded) for (const other of bits(current)) if (packsOf(state, other) === 0) superseded |= other;
    // with shared names only copies of B can be told from others
    if (this.#variant.copiesShareNames && copied & blob.a) return;
    const copy = this.#variant.copiesShareNames ? pack.copy0 : copyPack[this.#number];
    this.#go('marks again', copied ? pc.putCopy : pc.putSegment, (next) => {
      next[k.dead] = dead;
      next[k.orphans] = orphans;
      next[k.copied] = copied;
      next[k.segment] = kept | (copied ? copy : 0);
      next[k.superseded] = superseded;
      next[k.current] = current;
      next[k.index] = 0;
      next[k.known] = 0;
      next[k.kept] = 0;
      next[k.forgottenFirst] = 0;
    });
  }

  #removeSessions(next: State): void {
    const state = this.#state;
    const k = this.#places;
    next[at.committed] &= ~state[k.forgotten];
    const aborted = state[k.decided] & state[at.aborted];
    next[at.markers] &= ~aborted;
    if (this.#variant.removesAbortedOutcomes) next[at.aborted] &= ~aborted;
    for (const other of collectorSession) {
      const isSpent = other !== this.#bit && state[k.decided] & other && !(state[at.segments] & other);
      if (!isSpent) continue;
      next[at.markers] &= ~other;
      next[at.committed] &= ~other;
    }
  }

  /** The last of the sessions whose outcome was removed: their markers, and then what tells that they were forgotten. */
  #removeMarks(next: State): void {
    const gone = this.#state[this.#places.forgotten];
    next[at.markers] &= ~gone;
    next[at.marks] &= ~gone;
  }

  /** What is not needed any more would only tell equal states apart. */
  #forgetLocals(next: State): void {
    const k = this.#places;
    const locals = [k.listed, k.pin, k.forgotten, k.forgottenFirst, k.kept, k.index, k.decided, k.dead];
    for (const place of [...locals, k.rewrite, k.orphans, k.fence, k.current, k.known]) next[place] = 0;
  }

  #silently(target: number): void {
    const next = this.#state.slice();
    next[this.#places.pc] = target;
    new Collector(this.#setup, next, this.#number, this.#emit).step();
  }

  #go(step: string, target: number, change?: (next: State) => void): void {
    const next = this.#state.slice();
    next[this.#places.pc] = target;
    change?.(next);
    this.#emit(next, `collector ${this.#number}: ${step}`);
  }
}
