/** The writer, the reader and the people of the model: one step of a process is one call of the store. */
import type { State } from './explore.ts';
import {
  at,
  blob,
  collector,
  contentOf,
  effective,
  bits,
  packsOf,
  readerLooked,
  readerReads,
  type Setup,
  session,
  writer,
  writerPack,
  writerSession,
} from './protocol-state.ts';

export type Emit = (next: State, step: string) => void;

/** Where a writer stands. From `told` on its caller knows that the point is committed. */
const pc = {
  begin: 0,
  chosen: 8,
  lookForMark: 14,
  lookForParent: 15,
  readCondemned: 1,
  listIndex: 2,
  readIndex: 3,
  putPack: 4,
  putSegment: 5,
  putOutcome: 6,
  lateMarker: 7,
  childMarker: 10,
  childCheck: 11,
  childSegment: 12,
  childOutcome: 13,
  discard: 70,
  putAborted: 71,
  ended: 90,
  told: 98,
  released: 99,
} as const;

export function writerSteps(setup: Setup, state: State, number: number, emit: Emit): void {
  const places = writer[number];
  const bit = writerSession[number];
  const name = `writer ${number}`;
  const wants = setup.wants[number] ?? 0;
  const variant = setup.variant ?? {};
  const hasChild = setup.checkpoint === true && number === 0;
  const go = (step: string, target: number, change?: (next: State) => void): void => {
    const next = state.slice();
    next[places.pc] = target;
    change?.(next);
    emit(next, `${name}: ${step}`);
  };
  if (setup.aborts && state[places.pc] > pc.readIndex && state[places.pc] <= pc.childOutcome)
    go('gives up', pc.discard);
  switch (state[places.pc]) {
    case pc.begin:
      if (setup.tracked && number === 0 && state[at.committed] & session.i && !(state[at.marks] & session.i))
        go(
          'chooses its parent',
          variant.parentLookedAtBeforeMarker ? pc.lookForMark : pc.chosen,
          (next) => (next[places.kept] = wants & blob.a),
        );
      begin();
      break;
    case pc.chosen:
      begin();
      break;
    case pc.lookForMark:
      if (state[at.marks] & session.i) leaveParent('finds its parent forgotten');
      else go('finds its parent not forgotten', pc.lookForParent);
      break;
    case pc.lookForParent:
      if (state[at.committed] & session.i) keepParent('finds its parent there');
      else leaveParent('finds its parent gone');
      break;
    case pc.readCondemned:
      go('reads the condemned lists', pc.listIndex, (next) => {
        for (const k of collector)
          next[places.condemned] |= variant.ignoresCondemned ? 0 : state[k.condemned];
      });
      break;
    case pc.listIndex:
      go('lists the index', pc.readIndex, (next) => (next[places.listed] = state[at.segments]));
      break;
    case pc.readIndex:
      readIndex();
      break;
    case pc.lateMarker:
      go('puts its marker', afterIndex(), (next) => (next[at.markers] |= bit));
      break;
    case pc.putPack:
      go('puts its pack', afterPack(), (next) => (next[at.packs] |= writerPack[number]));
      break;
    case pc.childMarker:
      if (variant.childCheckedBeforeMarker)
        go(
          'puts the marker of its checkpoint',
          pc.childSegment,
          (next) => (next[at.markers] |= session.child),
        );
      else
        go(
          'puts the marker of its checkpoint',
          variant.childUnchecked ? pc.childSegment : pc.childCheck,
          (next) => {
            next[at.markers] |= session.child;
          },
        );
      break;
    case pc.childCheck:
      if (state[at.aborted] & bit) go('finds that it was given up on', pc.ended);
      else go('looks: still undecided', variant.childCheckedBeforeMarker ? pc.childMarker : pc.childSegment);
      break;
    case pc.childSegment:
      go(
        'puts the segment of its checkpoint',
        pc.childOutcome,
        (next) => (next[at.segments] |= session.child),
      );
      break;
    case pc.childOutcome:
      // what the checkpoint names the writer's own segment does not
      if (state[at.aborted] & session.child) go('finds its checkpoint given up on', pc.putSegment);
      else
        go(
          'puts the outcome of its checkpoint',
          pc.putOutcome,
          (next) => (next[at.committed] |= session.child),
        );
      break;
    case pc.putSegment:
      go('puts its segment', pc.putOutcome, (next) => (next[at.segments] |= bit));
      break;
    case pc.putOutcome:
      if (state[at.aborted] & bit) go('finds that it was given up on', pc.ended);
      else
        go(
          'commits',
          variant.outcomeBeforePack ? pc.putPack : pc.told,
          (next) => (next[at.committed] |= bit),
        );
      break;
    case pc.told:
      if (hasChild) go('releases its checkpoint', pc.released, (next) => forgetSession(next, session.child));
      break;
    case pc.discard:
      go('takes back what it stored', pc.putAborted, (next) => {
        next[at.segments] &= ~bit;
        const isNamed = hasChild && state[at.markers] & session.child;
        if (!isNamed || variant.abortDiscardsCheckpoint) next[at.packs] &= ~writerPack[number];
      });
      break;
    case pc.putAborted:
      go('aborts', pc.ended, (next) => {
        if (!(state[at.committed] & bit)) next[at.aborted] |= bit;
      });
      break;
    default:
      break;
  }

  function begin(): void {
    if (variant.indexBeforeMarker) go('begins', pc.readCondemned);
    else go('puts its marker', pc.readCondemned, (next) => (next[at.markers] |= bit));
  }

  /** From now on what the parent has is not stored, whatever the index says. */
  function keepParent(step: string): void {
    if (variant.parentLookedAtBeforeMarker) {
      go(step, pc.chosen);
      return;
    }
    const own = state[places.own] & ~state[places.kept];
    go(step, afterIndex(own), (next) => {
      next[places.own] = own;
      next[places.kept] = 0;
    });
  }

  function leaveParent(step: string): void {
    go(
      step,
      variant.parentLookedAtBeforeMarker ? pc.chosen : afterIndex(),
      (next) => (next[places.kept] = 0),
    );
  }

  function afterIndex(own = state[places.own]): number {
    if (own === 0) return pc.putOutcome;
    return variant.outcomeBeforePack ? pc.putSegment : pc.putPack;
  }

  function afterPack(): number {
    if (variant.outcomeBeforePack) return pc.told;
    if (!hasChild) return pc.putSegment;
    return variant.childCheckedBeforeMarker ? pc.childCheck : pc.childMarker;
  }

  function readIndex(): void {
    const listed = state[places.listed];
    const counted = effective(state, listed);
    const gone = listed & ~state[at.segments];
    const forget = (next: State) => {
      next[places.listed] = 0;
      next[places.condemned] = 0;
    };
    if (gone & (counted | ~state[at.committed])) {
      go('finds a segment gone, begins again', pc.readCondemned, forget);
      return;
    }
    let shared = 0;
    for (const segment of bits(counted))
      for (const found of bits(packsOf(state, segment) & ~state[places.condemned]))
        shared |= contentOf(setup, state, found);
    const kept = state[places.kept];
    const looks = kept && !variant.parentNotLookedAt && !variant.parentLookedAtBeforeMarker;
    const own = wants & ~shared & (looks ? ~0 : ~kept);
    const target = looks ? pc.lookForMark : afterIndex(own);
    go(
      `reads the index, shares ${wants & shared}`,
      variant.indexBeforeMarker ? pc.lateMarker : target,
      (next) => {
        forget(next);
        next[places.own] = own;
        if (!looks) next[places.kept] = 0;
      },
    );
  }
}

export function readerSteps(setup: Setup, state: State, emit: Emit): void {
  const go = (step: string, change: (next: State) => void): void => {
    const next = state.slice();
    change(next);
    emit(next, `reader: ${step}`);
  };
  const leave = (step: string): void =>
    go(step, (next) => {
      next[at.pin] = 0;
      next[at.reader] = 3;
    });
  const isMarked = (state[at.marks] & session.i) !== 0;
  const isThere = (state[at.committed] & session.i) !== 0;
  const looksFirst = setup.variant?.pinAfterLook === true;
  switch (state[at.reader]) {
    case 0:
      if (looksFirst && !isMarked && isThere) go('looks: not forgotten', (next) => (next[at.reader] = 1));
      if (!looksFirst && state[at.committed] & session.i)
        go('pins', (next) => {
          next[at.pin] = 1;
          next[at.reader] = 1;
        });
      break;
    case 1:
      if (looksFirst)
        go('pins', (next) => {
          next[at.pin] = 1;
          next[at.reader] = readerReads;
        });
      else if (isMarked) leave('finds the point forgotten');
      else go('looks: not forgotten', (next) => (next[at.reader] = readerLooked));
      break;
    case readerLooked:
      if (isThere) go('looks: it is there', (next) => (next[at.reader] = readerReads));
      else leave('finds the point gone');
      break;
    case readerReads:
      leave('unpins');
      break;
    default:
      break;
  }
}

/** People forget points; checkpoints grow old. */
export function peopleSteps(setup: Setup, state: State, emit: Emit): void {
  const may = session.i | (setup.forgets ? session.w0 : 0) | (setup.checkpoint ? session.child : 0);
  for (const bit of bits(may & state[at.committed] & ~state[at.forgotten])) {
    const next = state.slice();
    forgetSession(next, bit);
    emit(
      next,
      bit === session.child ? 'the checkpoint is too old' : `somebody forgets the point of session ${bit}`,
    );
  }
}

function forgetSession(next: State, bit: number): void {
  next[at.marks] |= bit;
  next[at.forgotten] |= bit;
}
