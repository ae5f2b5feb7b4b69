/** The worker threads that compress or decompress one stream, and the shared memory between us and them. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { assert, FormatError, pageMemory, PrimaError, Semaphore } from '@prima/base';
import { type Answer, answerTo, type Done, type Work, type WorkerSetup } from './stream-work.ts';

export interface StreamPoolOptions {
  /** Bytes of a slot. */
  slotBytes: number;
  /** Threads; 0: the work is done on the caller's. Default: as many as the machine runs side by side, 8 at most. */
  workers?: number | undefined;
}

/** A piece of shared memory, lent out. */
export interface Slot {
  index: number;
  bytes: Uint8Array;
  release: () => void;
}

interface Thread {
  worker: Worker;
  /** Jobs under way on this thread. */
  load: number;
}

interface Job {
  thread: Thread | undefined;
  resolve: (answer: Done) => void;
  reject: (error: Error) => void;
}

/** One being worked on, one waiting, the others being read or written. */
const slotsPerWorker = 4;

export class StreamPool {
  readonly #slots: SharedArrayBuffer[];
  readonly #free: number[];
  readonly #places: Semaphore;
  readonly #threadCount: number;
  /** Started with the first job. */
  #threads: Thread[] | undefined;
  readonly #jobs = new Map<number, Job>();
  #nextJob = 1;
  #failure: Error | undefined;

  constructor({ slotBytes, workers }: StreamPoolOptions) {
    this.#threadCount = workers ?? Math.min(8, availableParallelism());
    const slots = Math.max(1, this.#threadCount) * slotsPerWorker;
    // memory that begins at a page can be written past the page cache
    this.#slots = Array.from({ length: slots }, () => pageMemory(slotBytes).buffer);
    this.#free = this.#slots.map((_, index) => index);
    this.#places = new Semaphore(slots);
  }

  get slotCount(): number {
    return this.#slots.length;
  }

  /** Lends a slot; waits until one is free. */
  async slot(): Promise<Slot> {
    const done = await this.#places.acquire();
    const index = this.#free.pop();
    const memory = index === undefined ? undefined : this.#slots[index];
    assert(index !== undefined && memory, 'the semaphore counts the slots');
    const release = () => {
      this.#free.push(index);
      done();
    };
    return { index, bytes: new Uint8Array(memory, 0, memory.byteLength), release };
  }

  /** Has it done by the idlest thread. The memory in `transfer` is given away. */
  run(work: Work, transfer: ArrayBuffer[] = []): Promise<Done> {
    if (this.#failure) return Promise.reject(this.#failure);
    const job = this.#nextJob;
    this.#nextJob += 1;
    const promise = new Promise<Done>((resolve, reject) => {
      this.#jobs.set(job, { resolve, reject, thread: this.#idlest() });
    });
    const thread = this.#jobs.get(job)?.thread;
    if (thread) {
      thread.load += 1;
      thread.worker.postMessage({ ...work, job }, transfer);
    } else {
      const slots = this.#slots.map((memory) => new Uint8Array(memory, 0, memory.byteLength));
      setImmediate(() => this.#receive(answerTo({ ...work, job }, slots)));
    }
    return promise;
  }

  /** Ends the threads; what is under way is cancelled. May be called again. */
  async close(): Promise<void> {
    this.#fail(new PrimaError('cancelled', 'the worker threads were stopped'));
    await Promise.all((this.#threads ?? []).map(({ worker }) => worker.terminate()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #idlest(): Thread | undefined {
    this.#threads ??= Array.from({ length: this.#threadCount }, () => this.#start());
    return this.#threads.reduce<Thread | undefined>(
      (best, thread) => (best === undefined || thread.load < best.load ? thread : best),
      undefined,
    );
  }

  #start(): Thread {
    const workerData: WorkerSetup = { slots: this.#slots };
    const worker = new Worker(new URL('./stream-worker.ts', import.meta.url), { workerData });
    worker.on('message', (answer: Answer) => this.#receive(answer));
    worker.on('error', (cause: Error) =>
      this.#fail(new PrimaError('internal', `a worker thread failed: ${cause.message}`, { cause })),
    );
    worker.on('exit', (code) =>
      this.#fail(new PrimaError('internal', `a worker thread ended with status ${code}`)),
    );
    return { worker, load: 0 };
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const job of this.#jobs.values()) job.reject(this.#failure);
    this.#jobs.clear();
  }

  #receive(answer: Answer): void {
    const job = this.#jobs.get(answer.job);
    if (!job) return; // the pool was closed meanwhile
    this.#jobs.delete(answer.job);
    if (job.thread) job.thread.load -= 1;
    if (answer.op === 'done') job.resolve(answer);
    else if (answer.code === 'format') job.reject(new FormatError(answer.message));
    else job.reject(new PrimaError(answer.code, answer.message));
  }
}
