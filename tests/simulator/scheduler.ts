/** Decides, from a seed, which call of which process goes on next; owns the clock. One thing happens at a time. */
import { setImmediate as turn } from 'node:timers/promises';
import { type Clock, PrimaError, type Random } from '@prima/base';
import { runIntervals } from './determinism.ts';

/** A process that can be killed at any moment: then none of its calls goes on, and it learns of nothing. */
export interface SimulatedProcess {
  readonly name: string;
  isKilled: boolean;
  /** How often it gets its turn, beside others. */
  weight: number;
}

interface Waiting {
  process: SimulatedProcess;
  label: string;
  /** Does the step; undefined for one that waits for a time. */
  run: () => void;
  at?: number;
}

/** Weights that a process may have. */
const speeds = [1, 12, 150, 2000];

/** Steps that one run may have; more means that something goes round in circles. */
const maxSteps = 60_000;

export class Scheduler {
  readonly #random: Random;
  /** Steps for which a process stays as quick as it is, about. */
  readonly #steadiness: number;
  #waiting: Waiting[] = [];
  #now: number;
  #steps = 0;
  /** What was done, in order: the schedule to be printed when something went wrong. */
  readonly history: string[] = [];

  constructor(random: Random, now = Date.UTC(2030, 0, 1)) {
    this.#random = random;
    this.#now = now;
    this.#steadiness = [15, 50, 150, 500][random.below(4)] ?? 50;
  }

  get now(): number {
    return this.#now;
  }

  get steps(): number {
    return this.#steps;
  }

  clockOf(process: SimulatedProcess): Clock {
    return {
      now: () => this.#now,
      monotonic: () => this.#now,
      sleep: (ms) =>
        new Promise((resolve) => {
          this.#add({ process, label: `slept ${ms} ms`, run: resolve, at: this.#now + ms });
        }),
    };
  }

  /** A step that waits for its turn. */
  call<T>(process: SimulatedProcess, label: string, task: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const run = () => {
        try {
          resolve(task());
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
      };
      this.#add({ process, label, run });
    });
  }

  /** One of the weights. */
  speed(): number {
    return speeds[this.#random.below(speeds.length)] ?? 1;
  }

  /** What a dead process still asks for is never done. */
  #add(step: Waiting): void {
    if (!step.process.isKilled) this.#waiting.push(step);
  }

  kill(process: SimulatedProcess): void {
    process.isKilled = true;
    this.#waiting = this.#waiting.filter((step) => step.process !== process);
    this.history.push(`${process.name}: is killed`);
  }

  /** Everybody was held up; signs of life that were due are given at once, or some time later. */
  skipTime(ms: number): void {
    this.#now += ms;
    this.history.push(`${Math.round(ms / 3_600_000)} hours pass`);
    if (this.#random.below(3) === 0) runIntervals();
  }

  /** Lets things happen until `isOver`; `between` may interfere before each step. */
  async run(isOver: () => boolean, between: () => void = () => undefined): Promise<void> {
    for (;;) {
      await turn();
      if (isOver()) return;
      between();
      const next = this.#choose();
      if (next === undefined) {
        await turn();
        await turn();
        if (isOver()) return;
        if (this.#waiting.length === 0) throw new PrimaError('internal', 'everybody waits for nobody');
        continue;
      }
      this.#steps += 1;
      if (this.#steps > maxSteps) throw new PrimaError('internal', `no end after ${maxSteps} steps`);
      this.history.push(`${next.process.name}: ${next.label}`);
      next.run();
    }
  }

  /** Any call of a process that is quick just now, or now and then the sleeper that wakes up first. */
  #choose(): Waiting | undefined {
    const all = this.#waiting.filter(({ at }) => at === undefined);
    const process = this.#chooseProcess(new Set(all.map((step) => step.process)));
    const calls = all.filter((step) => step.process === process);
    const [first] = this.#waiting
      .filter(({ at }) => at !== undefined)
      .sort((a, b) => (a.at ?? 0) - (b.at ?? 0));
    const wakes = first && (calls.length === 0 || this.#random.below(100) === 0);
    const next = wakes ? first : calls[this.#random.below(Math.max(1, calls.length))];
    if (next === undefined) return undefined;
    this.#waiting.splice(this.#waiting.indexOf(next), 1);
    if (next.at !== undefined && next.at > this.#now) {
      this.#now = next.at;
      runIntervals();
    } else this.#now += this.#random.below(4);
    return next;
  }

  /** Processes are slow and quick by turns: one may do all of its work between two calls of another. */
  #chooseProcess(processes: ReadonlySet<SimulatedProcess>): SimulatedProcess | undefined {
    let total = 0;
    for (const process of processes) {
      if (this.#random.below(this.#steadiness) === 0) process.weight = this.speed();
      total += process.weight;
    }
    let at = this.#random.below(Math.max(1, total));
    for (const process of processes) {
      at -= process.weight;
      if (at < 0) return process;
    }
    return undefined;
  }
}
