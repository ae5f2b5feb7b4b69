/** The writer, the reader and the people of the model: one step of a process is one call of the store. */
import type { State } from './explore.ts';
import {
  at,
  collector,
  contentOf,
  effective,
  bits,
  packsOf,
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
      if (variant.indexBeforeMarker) go('begins', pc.readCondemned);
      else go('puts its marker', pc.readCondemned, (next) => (next[at.markers] |= bit));
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
      if (hasChild)
        go('releases its checkpoint', pc.released, (next) => (next[at.forgotten] |= session.child));
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
    const own = wants & ~shared;
    go(
      `reads the index, shares ${wants & shared}`,
      variant.indexBeforeMarker ? pc.lateMarker : afterIndex(own),
      (next) => {
        forget(next);
        next[places.own] = own;
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
  const isGone = (state[at.forgotten] & session.i) !== 0;
  const looksFirst = setup.variant?.pinAfterLook === true;
  switch (state[at.reader]) {
    case 0:
      if (looksFirst && !isGone) go('looks: not forgotten', (next) => (next[at.reader] = 1));
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
      else if (isGone)
        go('finds the point forgotten', (next) => {
          next[at.pin] = 0;
          next[at.reader] = 3;
        });
      else go('looks: not forgotten', (next) => (next[at.reader] = readerReads));
      break;
    case readerReads:
      go('unpins', (next) => {
        next[at.pin] = 0;
        next[at.reader] = 3;
      });
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
    next[at.forgotten] |= bit;
    emit(
      next,
      bit === session.child ? 'the checkpoint is too old' : `somebody forgets the point of session ${bit}`,
    );
  }
}
