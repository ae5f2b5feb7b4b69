/** The model as a whole: all processes side by side. */
import type { Model } from './explore.ts';
import { collectorSteps } from './collector-steps.ts';
import { faultOf, initialState, type Setup } from './protocol-state.ts';
import { peopleSteps, readerSteps, writerSteps } from './writer-steps.ts';

export function protocol(setup: Setup): Model {
  return {
    initial: [initialState(setup)],
    successors: (state, emit) => {
      for (const number of setup.wants.keys()) writerSteps(setup, state, number, emit);
      for (let number = 0; number < setup.collectors; number += 1) collectorSteps(setup, state, number, emit);
      if (setup.reader) readerSteps(setup, state, emit);
      peopleSteps(setup, state, emit);
    },
    fault: (state) => faultOf(setup, state),
  };
}
