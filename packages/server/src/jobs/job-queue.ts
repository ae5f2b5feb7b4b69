/** Where a runner's jobs come from and where it says what became of them: the state itself, or a server that is reached over HTTP. */
import type { JobEvent } from '@prima/api';
import type { Job, JobEventEntry, JobState, Problem } from '@prima/api/http';
import type { ProcessIdentity } from '@prima/base';

export type StoredEvent = JobEvent | { type: 'state'; state: JobState; attempt: number };

export interface Limits {
  /** Of this process. */
  atOnce: number;
}

/** What a runner has to know of a job, whatever it does. */
export interface QueuedJob {
  id: string;
  operation: string;
  summary: string;
  attempt: number;
  attempts: number;
  cancelling: 0 | 1;
  /** JSON, of `ProcessIdentity`: who runs it. */
  owner: string | null;
  /** The owner's last sign of life. */
  beat: string | null;
}

/** Each claim has an attempt of its own: whoever comes with an earlier one has lost the job. */
export type Claim = Pick<QueuedJob, 'id' | 'attempt'>;

export interface Outcome {
  state: JobState;
  result?: unknown;
  error?: Problem | undefined;
  /** Of a job that is queued again. */
  notBefore?: string;
}

export interface JobQueue<J extends QueuedJob> {
  now(later?: number): string;
  /** The oldest that may run now, which is this owner's then. */
  claim(owner: ProcessIdentity, limits: Limits, mine: number): Promise<J | undefined>;
  /** Those whose owners this runner can judge. */
  running(): Promise<J[]>;
  /** A sign of life; answers whether somebody wants it to end. Raises `state` where it is no longer this claim's. */
  beat(claim: Claim, progress: Job['progress'] | undefined): Promise<boolean>;
  /** To its end, or to be tried again; may be repeated. Raises `state` where it is no longer this claim's. */
  settle(claim: Claim, outcome: Outcome): Promise<void>;
  /** Nothing: there are too many events of the job already. */
  append(claim: Claim, number: number, event: StoredEvent): Promise<JobEventEntry | undefined>;
  removeEvent(claim: Claim, number: number): Promise<void>;
  lastEvent(claim: Claim): Promise<number>;
}
