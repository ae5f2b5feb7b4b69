/** Jobs of a worker, from a server: while that cannot be reached the work goes on, and is told when it can. */
import type { Job, JobEventEntry, ResourceClient } from '@prima/api/http';
import { type Clock, type Logger, PrimaError, type ProcessIdentity, toPrimaError } from '@prima/base';
import type { Claim, JobQueue, Limits, Outcome, QueuedJob, StoredEvent } from '../jobs/job-queue.ts';

export interface WorkerJob extends QueuedJob {
  host: string | undefined;
  request: unknown;
  repository: { name: string; url: string; passphrase: string } | undefined;
}

interface HttpQueueOptions {
  worker: string;
  call: ResourceClient;
  clock: Clock;
  logger: Logger;
  /** Hears that the server wants nothing of this worker any more: it was removed, or its token. */
  refused: (failure: PrimaError) => void;
  /** The worker ends: waits for work are over. */
  ending: AbortSignal;
}

const waitSeconds = 20;
const claimTimeoutMs = 60_000;
/** What follows from a job's end is done before the answer. */
const settleTimeoutMs = 60_000;
const firstPauseMs = 1000;
const longestPauseMs = 30_000;
const eventsAtMost = 1000;

interface Untold {
  events: { id: number; event: StoredEvent }[];
  removed: number[];
  dropped: number;
}

type Listed = Omit<WorkerJob, 'cancelling' | 'owner' | 'beat' | 'host' | 'request' | 'repository'> & {
  cancelling: boolean;
  owner?: string | undefined;
  beat?: string | undefined;
  host?: string | undefined;
  events: number;
};

export class HttpQueue implements JobQueue<WorkerJob> {
  readonly #options: HttpQueueOptions;
  readonly #untold = new Map<string, Untold>();
  readonly #stored = new Map<string, number>();
  #failures = 0;

  constructor(options: HttpQueueOptions) {
    this.#options = options;
  }

  now(later = 0): string {
    return new Date(this.#options.clock.now() + later).toISOString();
  }

  async claim(owner: ProcessIdentity, limits: Limits, mine: number): Promise<WorkerJob | undefined> {
    const { call, worker, ending } = this.#options;
    if (mine >= limits.atOnce || ending.aborted) return undefined;
    const ask = () =>
      call('claimJob', {
        path: { id: worker },
        body: { owner, waitSeconds: mine === 0 ? waitSeconds : 0 },
        signal: ending,
        timeoutMs: claimTimeoutMs,
      });
    const answer = await this.#reach(ask).catch((error: unknown) => {
      this.#options.refused(toPrimaError(error, 'asking the server for jobs'));
      return undefined;
    });
    if (!answer) await this.#pause();
    if (!answer?.job) return undefined;
    const { job } = answer;
    return { ...this.#known(job), request: job.request, repository: job.repository };
  }

  /** Raises where the server cannot be reached: nothing is known then. */
  async running(): Promise<WorkerJob[]> {
    const { call, worker } = this.#options;
    const { items } = await call('listWorkerJobs', { path: { id: worker } });
    return items.map((job) => ({ ...this.#known(job), request: undefined, repository: undefined }));
  }

  #known({
    events,
    cancelling,
    owner,
    beat,
    host,
    ...job
  }: Listed): Omit<WorkerJob, 'request' | 'repository'> {
    this.#stored.set(job.id, events);
    return { ...job, cancelling: cancelling ? 1 : 0, owner: owner ?? null, beat: beat ?? null, host };
  }

  async beat(claim: Claim, progress: Job['progress'] | undefined): Promise<boolean> {
    const { call } = this.#options;
    const told = this.#take(claim);
    const answer = await this.#reach(() =>
      call('beatJob', {
        path: this.#path(claim),
        body: { attempt: claim.attempt, events: told.events, removed: told.removed, progress },
      }),
    );
    if (!answer) this.#putBack(claim, told);
    return answer?.cancelling ?? false;
  }

  /** Goes on until the server has it, or the worker ends. */
  async settle(claim: Claim, outcome: Outcome): Promise<void> {
    const { call, ending } = this.#options;
    const { events, removed } = this.#take(claim);
    const body = { attempt: claim.attempt, events, removed, ...outcome, state: stateOf(outcome) };
    const send = async () => {
      await call('settleJob', { path: this.#path(claim), body, timeoutMs: settleTimeoutMs });
      return true;
    };
    while (!(await this.#reach(send))) {
      if (ending.aborted) throw new PrimaError('remote', 'the server could not be told', { retryable: true });
      await this.#pause();
    }
    this.#untold.delete(claim.id);
    this.#stored.delete(claim.id);
  }

  /** Kept until the next sign of life. How it ended the server writes down itself. */
  async append(claim: Claim, number: number, event: StoredEvent): Promise<JobEventEntry | undefined> {
    if (event.type === 'state' && event.state !== 'running') return undefined;
    const untold = this.#untoldOf(claim);
    if (untold.events.length >= eventsAtMost) untold.dropped += 1;
    else untold.events.push({ id: number, event });
    this.#stored.set(claim.id, number);
    return undefined;
  }

  async removeEvent(claim: Claim, number: number): Promise<void> {
    const untold = this.#untoldOf(claim);
    const at = untold.events.findIndex(({ id }) => id === number);
    if (at >= 0) untold.events.splice(at, 1);
    else if (untold.removed.length < eventsAtMost) untold.removed.push(number);
  }

  async lastEvent({ id }: Claim): Promise<number> {
    return this.#stored.get(id) ?? 0;
  }

  #path({ id }: Claim): { worker: string; id: string } {
    return { worker: this.#options.worker, id };
  }

  #untoldOf({ id }: Claim): Untold {
    const untold = this.#untold.get(id) ?? { events: [], removed: [], dropped: 0 };
    this.#untold.set(id, untold);
    return untold;
  }

  #take(claim: Claim): Untold {
    const untold = this.#untoldOf(claim);
    this.#untold.delete(claim.id);
    const last = untold.events.at(-1);
    if (untold.dropped > 0 && last) {
      const message = `${untold.dropped + 1} lines are missing here: the server could not be reached`;
      last.event = { type: 'log', level: 'warn', message };
    }
    return untold;
  }

  #putBack(claim: Claim, before: Untold): void {
    const since = this.#untoldOf(claim);
    const events = [...before.events, ...since.events];
    this.#untold.set(claim.id, {
      events: events.slice(0, eventsAtMost),
      removed: [...before.removed, ...since.removed].slice(0, eventsAtMost),
      dropped: before.dropped + since.dropped + Math.max(0, events.length - eventsAtMost),
    });
  }

  /** Undefined where the server is away for now. Raises what it refuses. */
  async #reach<T>(task: () => Promise<T>): Promise<T | undefined> {
    const { logger, ending } = this.#options;
    try {
      const answer = await task();
      if (this.#failures > 0) logger.info('the server is reached again');
      this.#failures = 0;
      return answer;
    } catch (error) {
      const failure = toPrimaError(error, 'asking the server');
      if (!failure.retryable && !ending.aborted) throw failure;
      if (this.#failures === 0 && !ending.aborted)
        logger.warn(`${failure.message}; what runs goes on, and is told when the server is back`);
      this.#failures += 1;
      return undefined;
    }
  }

  async #pause(): Promise<void> {
    const { clock, ending } = this.#options;
    const pauseMs = Math.min(firstPauseMs * 2 ** Math.min(this.#failures, 10), longestPauseMs);
    await clock.sleep(pauseMs, ending).catch(() => undefined); // aborted: it ends
  }
}

function stateOf({ state }: Outcome): 'queued' | 'succeeded' | 'failed' | 'cancelled' {
  if (state !== 'running') return state;
  throw new PrimaError('internal', 'a job that is settled does not run');
}
