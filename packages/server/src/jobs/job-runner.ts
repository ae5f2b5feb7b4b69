/**
 * Runs jobs: each is claimed by one process, which gives signs of life while it works. A job whose process has died is tried again, where that
 * is right for its kind, or has failed; it is never forgotten, and never run by two.
 */
import type { JobEvent } from '@prima/api';
import type { JobEventEntry, JobState } from '@prima/api/http';
import {
  type Clock,
  liveness,
  type Logger,
  ownIdentity,
  PrimaError,
  type ProcessIdentity,
  toPrimaError,
} from '@prima/base';
import { problemOf } from '../problem.ts';
import { EventLog, type Listener } from './event-log.ts';
import type { JobQueue, Limits, Outcome, QueuedJob } from './job-queue.ts';
import { type JobRow, workerOf } from './job-store.ts';

export interface JobWork {
  signal: AbortSignal;
  onEvent: (event: JobEvent) => void;
}

/** How a job ended, as the state has it. */
interface Ended {
  state: JobState;
  ended: string;
  result: string | null;
  error: string | null;
}

export interface JobRunnerOptions<J extends QueuedJob = JobRow> {
  store: JobQueue<J>;
  clock: Clock;
  logger: Logger;
  limits: Limits;
  /** Does what the job says. Raises; `failure` is for what is known to be incomplete though there is a result. */
  run: (job: J, work: JobWork) => Promise<{ result: unknown; failure?: PrimaError }>;
  /** Whether the job can be done again from its beginning by another process after the first one has died in it. */
  mayBeginAgain: (job: J) => boolean;
  /** What follows from its end, given as it will be: done before the end is shown, so that whoever waits for it finds all of it. */
  ended?: (job: J & Ended) => Promise<void>;
  /** Before a job ends for good whose process has died in it. */
  abandoned?: (job: J, end: { state: 'failed' | 'cancelled'; onEvent: JobWork['onEvent'] }) => Promise<void>;
  /** The end is shown after so long, whatever `ended` is at. Default one minute. */
  endedWithinMs?: number;
}

const beatMs = 1000;
const lookMs = 1000;
const orphanLookMs = 15_000;
/** Of a process on another computer, which cannot be asked whether it lives. */
const silentMs = 90_000;
const firstPauseMs = 30_000;
const longestPauseMs = 30 * 60_000;

/** A job in which the server dies each time is not begun for ever. */
const interruptionsAtMost = 3;

const endedWithinMsDefault = 60_000;

const settleAttempts = 60;
const settlePauseMs = 2000;

type End = Outcome & { state: 'failed' | 'cancelled' };

interface Running {
  abort: AbortController;
  done: Promise<void>;
}

export class JobRunner<J extends QueuedJob = JobRow> {
  readonly #options: JobRunnerOptions<J>;
  readonly #running = new Map<string, Running>();
  readonly #listeners = new Map<string, Set<Listener>>();
  #owner: ProcessIdentity | undefined;
  #started = 0;
  #loop: Promise<void> | undefined;
  #wake = Promise.withResolvers<void>();
  #closing = false;

  constructor(options: JobRunnerOptions<J>) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#owner = await ownIdentity();
    this.#started = this.#options.clock.monotonic();
    await this.#adoptOrphans();
    this.#loop = this.#run();
  }

  /** Something may run now that could not before. */
  wake(): void {
    this.#wake.resolve();
  }

  /** Ends it where it runs here; another process sees that it is wanted. */
  cancel(id: string): void {
    this.#running.get(id)?.abort.abort(new PrimaError('cancelled', 'cancelled by request'));
    this.wake();
  }

  /** Hears what a job that runs here tells, until the returned function is called. */
  listen(id: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(id) ?? new Set();
    this.#listeners.set(id, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) this.#listeners.delete(id);
    };
  }

  /** What runs is cancelled and waited for; it is queued again, for the next start. */
  async close(): Promise<void> {
    this.#closing = true;
    this.wake();
    for (const { abort } of this.#running.values())
      abort.abort(new PrimaError('cancelled', 'the server is ending', { retryable: true }));
    await this.#loop;
    await Promise.allSettled([...this.#running.values()].map(({ done }) => done));
  }

  async #run(): Promise<void> {
    const { clock, logger } = this.#options;
    let looked = clock.monotonic();
    while (!this.#closing) {
      this.#wake = Promise.withResolvers<void>();
      try {
        if (clock.monotonic() - looked > orphanLookMs) {
          looked = clock.monotonic();
          await this.#adoptOrphans();
        }
        while (await this.#beginOne());
      } catch (error) {
        logger.error(`looking for jobs: ${toPrimaError(error, 'looking for jobs').message}`);
      }
      const pause = new AbortController();
      await Promise.race([this.#wake.promise, clock.sleep(lookMs, pause.signal)]);
      pause.abort();
    }
  }

  async #beginOne(): Promise<boolean> {
    const { store, limits } = this.#options;
    if (this.#closing || !this.#owner) return false;
    const job = await store.claim(this.#owner, limits, this.#running.size);
    if (!job) return false;
    const abort = new AbortController();
    this.#keep(job.id, abort, this.#work(job, abort));
    return true;
  }

  #keep(id: string, abort: AbortController, work: Promise<void>): void {
    const done = work.finally(() => {
      this.#running.delete(id);
      this.wake();
    });
    this.#running.set(id, { abort, done });
  }

  /** Never raises: what cannot be written down is found by whoever looks for orphans. */
  async #work(job: J, abort: AbortController): Promise<void> {
    const { store, run, logger } = this.#options;
    const log = new EventLog(store, job, (entry) => this.#tell(job.id, entry));
    try {
      await log.begin({ type: 'state', state: 'running', attempt: job.attempt });
      const stopBeating = this.#beat(job, abort, log);
      const outcome = await this.#outcome(job, abort, () =>
        run(job, { signal: abort.signal, onEvent: (event) => log.add(event) }),
      );
      const following = this.#follow(job, outcome);
      await this.#atMost(following);
      await stopBeating();
      await log.flush().catch(() => undefined); // with the state, or not at all
      await this.#settle(job, outcome);
      log.add({ type: 'state', state: outcome.state, attempt: job.attempt });
      await log.flush();
      await following;
    } catch (error) {
      logger.error(`job ${job.id}: ${toPrimaError(error, 'keeping its outcome').message}`, { job: job.id });
    }
  }

  /** Never raises: the outcome stands, whatever follows. */
  async #follow(job: J, outcome: Outcome): Promise<void> {
    const { ended, store, logger } = this.#options;
    const { state, result, error } = outcome;
    if (!ended || state === 'queued') return;
    try {
      await ended({
        ...job,
        state,
        ended: store.now(),
        result: result === undefined ? null : JSON.stringify(result),
        error: error === undefined ? null : JSON.stringify(error),
      });
    } catch (failure) {
      logger.warn(`job ${job.id}: ${toPrimaError(failure, 'what follows from its end').message}`, {
        job: job.id,
      });
    }
  }

  async #atMost(work: Promise<void>): Promise<void> {
    const { clock, endedWithinMs = endedWithinMsDefault } = this.#options;
    const pause = new AbortController();
    await Promise.race([work, clock.sleep(endedWithinMs, pause.signal).catch(() => undefined)]);
    pause.abort();
  }

  /** An outcome is not lost because the database is away for a while: whoever finds the job running would do it again. */
  async #settle(job: J, outcome: Outcome): Promise<void> {
    const { store, clock, logger } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        await store.settle(job, outcome);
        return;
      } catch (error) {
        if (attempt === settleAttempts || isLost(error)) throw error;
        logger.warn(`job ${job.id}: its outcome is written again: ${toPrimaError(error, 'writing').message}`);
        await clock.sleep(settlePauseMs);
      }
    }
  }

  async #outcome(
    job: J,
    { signal }: AbortController,
    run: () => ReturnType<JobRunnerOptions<J>['run']>,
  ): Promise<Outcome> {
    try {
      const { result, failure } = await run();
      if (!failure) return { state: 'succeeded', result };
      return { ...this.#afterFailure(job, failure), result };
    } catch (error) {
      const failure = toPrimaError(error, job.summary);
      if (!signal.aborted) return this.#afterFailure(job, failure);
      const isEnding = this.#closing && signal.reason instanceof PrimaError && signal.reason.retryable;
      if (!isEnding) return { state: 'cancelled', error: problemOf(failure) };
      return this.#interrupted(job);
    }
  }

  #afterFailure(job: J, failure: PrimaError): Outcome {
    const error = problemOf(failure);
    if (!failure.retryable || job.attempt >= job.attempts) return { state: 'failed', error };
    const pause = Math.min(firstPauseMs * 4 ** (job.attempt - 1), longestPauseMs);
    return { state: 'queued', error, notBefore: this.#options.store.now(pause) };
  }

  #interrupted(job: J): { state: 'queued' } | End {
    const mayAgain = this.#options.mayBeginAgain(job) && job.attempt < job.attempts + interruptionsAtMost;
    if (mayAgain) return { state: 'queued' };
    const message = `the server ended during ${job.summary}; what it had begun is taken back when it starts again: look, then try again`;
    return { state: 'failed', error: problemOf(new PrimaError('cancelled', message)) };
  }

  #beat(job: J, abort: AbortController, log: EventLog): () => Promise<void> {
    const { store, clock, logger } = this.#options;
    const end = new AbortController();
    const beating = (async () => {
      while (!end.signal.aborted) {
        try {
          await log.flush();
          const wanted = await store.beat(job, log.takeProgress());
          if (wanted) abort.abort(new PrimaError('cancelled', 'cancelled by request'));
        } catch (error) {
          if (isLost(error)) abort.abort(error);
          logger.warn(`job ${job.id}: ${toPrimaError(error, 'giving a sign of life').message}`, {
            job: job.id,
          });
        }
        await clock.sleep(beatMs, end.signal).catch(() => undefined); // aborted: it is over
      }
    })();
    return async () => {
      end.abort();
      await beating;
    };
  }

  #tell(id: string, entry: JobEventEntry): void {
    for (const listener of this.#listeners.get(id) ?? []) listener(entry);
  }

  /** Jobs whose process has died, or whose computer has been silent. */
  async #adoptOrphans(): Promise<void> {
    const { store, logger } = this.#options;
    for (const job of await store.running()) {
      if (this.#running.has(job.id) || !(await this.#isOrphan(job))) continue;
      logger.warn(`${job.summary}: the process that was at it has died`);
      const outcome = job.cancelling ? { state: 'cancelled' as const } : this.#interrupted(job);
      if (outcome.state === 'queued') await store.settle(job, outcome);
      else this.#keep(job.id, new AbortController(), this.#abandon(job, outcome));
    }
  }

  /** Never raises: a job whose end could not be written is still an orphan. */
  async #abandon(job: J, outcome: End): Promise<void> {
    const { store, logger, abandoned } = this.#options;
    const log = new EventLog(store, job, (entry) => this.#tell(job.id, entry));
    try {
      await log.resume();
      await abandoned?.(job, { state: outcome.state, onEvent: (event) => log.add(event) });
      await this.#atMost(this.#follow(job, outcome));
      await this.#settle(job, outcome);
      log.add({ type: 'state', state: outcome.state, attempt: job.attempt });
      await log.flush();
    } catch (error) {
      logger.error(`job ${job.id}: ${toPrimaError(error, 'giving it up').message}`, { job: job.id });
    }
  }

  /** Of one that is ours and does not run here: its outcome could not be written. */
  async #isOrphan({ owner, beat }: J): Promise<boolean> {
    const { store, clock } = this.#options;
    if (owner === JSON.stringify(this.#owner)) return true;
    const isSilent = (beat ?? '') < store.now(-silentMs);
    // a worker has had nobody to give signs of life to while no server ran
    if (workerOf(owner) !== undefined) return isSilent && clock.monotonic() - this.#started > silentMs;
    const state = owner === null ? 'dead' : await liveness(JSON.parse(owner) as ProcessIdentity);
    return state === 'unknown' ? isSilent : state === 'dead';
  }
}

const isLost = (error: unknown): boolean => error instanceof PrimaError && error.code === 'state';
