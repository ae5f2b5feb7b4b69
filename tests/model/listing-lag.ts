/**
 * Stores whose listings lag, such as NFS with its attribute cache: what was created is listed to everybody only
 * after `settleMs`; reading or creating by name is always exact. How long has a collector to wait between writing
 * its condemned list and the listing by which it decides whom to wait for?
 *
 * A writer that shares a dead blob, a collector that deletes it; time in half settling times.
 */
import type { Model, State } from './explore.ts';

/** Two halves make one settling time; ages are counted up to here. */
const settled = 2;
const oldest = 4;

const at = {
  writer: 0,
  collector: 1,
  markerAge: 2,
  condemnedAge: 3,
  outcomeAge: 4,
  sharesDead: 5,
  sawOpen: 6,
  isFenced: 7,
  packGone: 8,
  isCommitted: 9,
  rescued: 10,
  decidedAge: 11,
} as const;
const bytes = 12;

const collectorAt = { condemn: 0, list: 1, fence: 2, secondMark: 3, commit: 4, ended: 5 } as const;

export interface LagSetup {
  /** Waited between the condemned list and the deciding listing, in half settling times. */
  waitHalves: number;
  /** Waited between that listing and the second mark. */
  markWaitHalves: number;
}

export function listingLag(setup: LagSetup): Model {
  return {
    initial: [new Uint8Array(bytes)],
    successors: (state, emit) => {
      const go = (step: string, change: (next: State) => void) => {
        const next = state.slice();
        change(next);
        emit(next, step);
      };
      writerSteps(state, go);
      collectorSteps(setup, state, go);
      go('half a settling time passes', (next) => {
        for (const age of [at.markerAge, at.condemnedAge, at.outcomeAge, at.decidedAge])
          if (next[age] > 0) next[age] = Math.min(next[age] + 1, oldest + 1);
      });
    },
    fault: (state) =>
      state[at.isCommitted] && state[at.sharesDead] && state[at.packGone]
        ? 'a committed point has lost what it shares'
        : undefined,
  };
}

type Go = (step: string, change: (next: State) => void) => void;

/** What a listing may say of an object; ages are one more than the half settling times since its creation. */
function views(age: number): boolean[] {
  if (age === 0) return [false];
  return age - 1 >= settled ? [true] : [true, false];
}

function writerSteps(state: State, go: Go): void {
  switch (state[at.writer]) {
    case 0:
      go('writer: puts its marker', (next) => {
        next[at.writer] = 1;
        next[at.markerAge] = 1;
      });
      break;
    case 1:
      for (const seen of views(state[at.condemnedAge])) {
        go(`writer: lists the condemned, ${seen ? 'finds' : 'misses'} the list`, (next) => {
          next[at.writer] = 2;
          next[at.sharesDead] = seen ? 0 : 1;
        });
      }
      break;
    case 2:
      go(state[at.isFenced] ? 'writer: finds that it was given up on' : 'writer: commits', (next) => {
        next[at.writer] = 3;
        if (next[at.isFenced]) return;
        next[at.isCommitted] = 1;
        next[at.outcomeAge] = 1;
      });
      break;
    default:
      break;
  }
}

function collectorSteps(setup: LagSetup, state: State, go: Go): void {
  switch (state[at.collector]) {
    case collectorAt.condemn:
      go('collector: puts its condemned list', (next) => {
        next[at.collector] = collectorAt.list;
        next[at.condemnedAge] = 1;
      });
      break;
    case collectorAt.list:
      if (state[at.condemnedAge] - 1 < setup.waitHalves) break;
      for (const isMarkerSeen of views(state[at.markerAge]))
        for (const isOutcomeSeen of views(state[at.outcomeAge])) {
          const isOpen = isMarkerSeen && !isOutcomeSeen;
          go(`collector: lists the sessions, sees ${isOpen ? 'one' : 'none'} undecided`, (next) => {
            next[at.collector] = isOpen ? collectorAt.fence : collectorAt.secondMark;
            next[at.decidedAge] = 1;
          });
        }
      break;
    case collectorAt.fence:
      go('collector: gives up on the writer, or learns its outcome', (next) => {
        next[at.collector] = collectorAt.secondMark;
        next[at.decidedAge] = 1;
        if (!next[at.isCommitted]) next[at.isFenced] = 1;
      });
      break;
    case collectorAt.secondMark:
      if (state[at.decidedAge] - 1 < setup.markWaitHalves) break;
      for (const isSeen of views(state[at.outcomeAge])) {
        go(`collector: marks again, ${isSeen ? 'with' : 'without'} the writer's point`, (next) => {
          next[at.collector] = collectorAt.commit;
          next[at.rescued] = isSeen && state[at.sharesDead] ? 1 : 0;
        });
      }
      break;
    case collectorAt.commit:
      go('collector: commits and deletes', (next) => {
        next[at.collector] = collectorAt.ended;
        next[at.packGone] = next[at.rescued] ? 0 : 1;
      });
      break;
    default:
      break;
  }
}
