/** What a job tells, on its way into its queue. */
import type { JobEvent } from '@prima/api';
import type { Job, JobEventEntry } from '@prima/api/http';
import type { Claim, JobQueue, QueuedJob, StoredEvent } from './job-queue.ts';

export type Listener = (entry: JobEventEntry) => void;

/** What one job tells: numbered, kept in order, bounded. Progress is written once in a while, the newest of each. */
export class EventLog {
  readonly #store: Pick<JobQueue<QueuedJob>, 'append' | 'removeEvent' | 'lastEvent' | 'now'>;
  readonly #job: Claim;
  readonly #tell: Listener;
  readonly #waiting: StoredEvent[] = [];
  readonly #progress = new Map<string, Extract<JobEvent, { type: 'progress' }>>();
  /** The number of the progress that is stored, by subject: newer progress takes its place. */
  readonly #stored = new Map<string, number>();
  #latest: Extract<JobEvent, { type: 'progress' }> | undefined;
  #number = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: JobQueue<QueuedJob>, job: Claim, tell: Listener) {
    this.#store = store;
    this.#job = job;
    this.#tell = tell;
  }

  async resume(): Promise<void> {
    this.#number = await this.#store.lastEvent(this.#job);
  }

  async begin(event: StoredEvent): Promise<void> {
    await this.resume();
    this.add(event);
    await this.flush();
  }

  add(event: StoredEvent): void {
    if (event.type === 'progress') {
      this.#progress.set(event.subject, event);
      this.#latest = event;
    } else if (event.type === 'state' || event.level !== 'debug') {
      this.#waiting.push(event);
    }
  }

  takeProgress(): Job['progress'] | undefined {
    const latest = this.#latest;
    this.#latest = undefined;
    if (!latest) return undefined;
    const { type: _type, ...told } = latest;
    return { ...told, at: this.#store.now() };
  }

  /** Raises what the state raises; what was not written then is by the next. */
  flush(): Promise<void> {
    this.#writing = this.#writing.catch(() => undefined).then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    for (let event = this.#waiting[0]; event; event = this.#waiting[0]) {
      await this.#append(event);
      this.#waiting.shift();
    }
    const progress = [...this.#progress];
    this.#progress.clear();
    for (const [subject, event] of progress) {
      const overtaken = this.#stored.get(subject);
      this.#stored.set(subject, await this.#append(event));
      if (overtaken !== undefined) await this.#store.removeEvent(this.#job, overtaken);
    }
  }

  async #append(event: StoredEvent): Promise<number> {
    const number = this.#number + 1;
    const entry = await this.#store.append(this.#job, number, event);
    this.#number = number;
    if (entry) this.#tell(entry);
    return number;
  }
}
