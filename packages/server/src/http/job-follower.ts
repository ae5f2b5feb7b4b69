/** Tells what a job tells, to its end: what is stored first, then what is new, wherever the job runs. */
import type { JobEventEntry } from '@prima/api/http';
import type { SSEStreamingApi } from 'hono/streaming';
import type { JobRow } from '../jobs/job-store.ts';
import type { Service } from '../service/service.ts';

const lookMs = 1000;
const commentMs = 10_000;
const atOnce = 500;
const ends = new Set(['succeeded', 'failed', 'cancelled']);

export class JobFollower {
  readonly #service: Service;
  readonly #job: JobRow;
  #last = 0;
  /** The job's end was among what was told. */
  #hasTold = false;

  constructor(service: Service, job: JobRow) {
    this.#service = service;
    this.#job = job;
  }

  async follow(stream: SSEStreamingApi, after: number): Promise<void> {
    const { runner, clock, jobs } = this.#service;
    const { id, organisation_id } = this.#job;
    this.#last = after;
    let wake = Promise.withResolvers<void>();
    const stopListening = runner.listen(id, () => wake.resolve());
    const left = new AbortController();
    stream.onAbort(() => {
      left.abort();
      wake.resolve();
    });
    let spoke = clock.monotonic();
    try {
      while (!left.signal.aborted) {
        wake = Promise.withResolvers<void>();
        const { state } = await jobs.get(organisation_id, id); // before its events: none comes after the end that was seen
        if (await this.#tellStored(stream)) spoke = clock.monotonic();
        if (ends.has(state)) {
          if (!this.#hasTold) await stream.writeSSE(eventOf(this.#endOf(state)));
          return;
        }
        if (clock.monotonic() - spoke > commentMs) {
          await stream.write(': still there\n\n');
          spoke = clock.monotonic();
        }
        const pause = new AbortController();
        await Promise.race([wake.promise, clock.sleep(lookMs, pause.signal).catch(() => undefined)]);
        pause.abort();
      }
    } finally {
      stopListening();
    }
  }

  async #tellStored(stream: SSEStreamingApi): Promise<boolean> {
    let told = false;
    for (;;) {
      const entries = await this.#service.jobs.events(this.#job.id, this.#last, atOnce);
      for (const entry of entries) {
        await stream.writeSSE(eventOf(entry));
        this.#last = entry.id;
        this.#hasTold = entry.event.type === 'state' && ends.has(entry.event.state);
        told = true;
      }
      if (entries.length < atOnce) return told;
    }
  }

  /** Of a job that ended without running: cancelled in the queue, or its process died. */
  #endOf(state: JobRow['state']): JobEventEntry {
    const event = { type: 'state' as const, state, attempt: this.#job.attempt };
    return { id: this.#last + 1, time: this.#service.jobs.now(), event };
  }
}

function eventOf({ id, time, event }: JobEventEntry): { id: string; event: string; data: string } {
  return { id: String(id), event: event.type, data: JSON.stringify({ ...event, time }) };
}
