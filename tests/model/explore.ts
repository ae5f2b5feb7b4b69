/** Explicit-state search: every state that any interleaving reaches, breadth first, each looked at once. */

/** A state: small numbers at fixed places, so that it copies and hashes cheaply. */
export type State = Uint8Array;

export interface Model {
  initial: State[];
  /** Calls `emit` for every step that any process can make; the state given is not changed. */
  successors(state: State, emit: (next: State, step: string) => void): void;
  /** What is wrong in this state, or undefined. */
  fault(state: State): string | undefined;
}

export interface Exploration {
  states: number;
  /** Steps from an initial state to a wrong one, as few as possible, and what is wrong there. */
  violation?: { fault: string; steps: string[] };
  /** The bound on states was reached before all were seen. */
  isCut: boolean;
}

interface Origin {
  parent: number;
  step: string;
}

/** Searches until the first violation, the end, or `maxStates`. */
export function explore(model: Model, maxStates = 5_000_000): Exploration {
  const seen = new Set<string>();
  /** Those that are still to be looked at; of the others only key and origin are kept. */
  const states: (State | undefined)[] = [];
  const origins: Origin[] = [];
  const add = (state: State, parent: number, step: string): void => {
    const key = Buffer.from(state.buffer, state.byteOffset, state.length).toString('latin1');
    if (seen.has(key)) return;
    seen.add(key);
    states.push(state);
    origins.push({ parent, step });
  };
  for (const state of model.initial) add(state, -1, 'start');
  for (let at = 0; at < states.length; at += 1) {
    const state = states[at];
    if (!state) break;
    const fault = model.fault(state);
    if (fault !== undefined)
      return { states: states.length, violation: { fault, steps: pathTo(origins, at) }, isCut: false };
    if (states.length >= maxStates) return { states: states.length, isCut: true };
    model.successors(state, (next, step) => add(next, at, step));
    states[at] = undefined;
  }
  return { states: states.length, isCut: false };
}

function pathTo(origins: readonly Origin[], end: number): string[] {
  const steps: string[] = [];
  for (let at = end; at >= 0; ) {
    const origin = origins[at];
    if (!origin) break;
    steps.push(origin.step);
    at = origin.parent;
  }
  return steps.reverse();
}
