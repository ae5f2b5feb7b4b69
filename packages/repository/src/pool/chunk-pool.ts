/** The worker threads of one session or reader, and the shared memory between us and them. */
import { assert, MiB, pageMemory, PrimaError, Semaphore, toPrimaError } from '@prima/base';
import type { SealingKeys } from '../crypto/sealer.ts';
import type { BlobType } from '../format/blob.ts';
import { packBufferBytes } from '../format/pack-builder.ts';
import { ChunkWork } from './chunk-work.ts';
import type { Answer, Begin, Request, WorkerSetup } from './messages.ts';
import { type ThreadReserve, usualThreads } from './thread-reserve.ts';

/** A pack that a worker finished; its bytes stay valid until `release`. */
export interface BuiltPack {
  name: string;
  bytes: Uint8Array;
  /** 32 bytes an entry. */
  ids: Uint8Array;
  /** Offset and length, two words an entry. */
  places: Uint32Array;
  release: () => void;
}

export interface ChunkPoolOptions {
  keys: SealingKeys;
  chunkSize: number;
  /** Threads; 0: no thread, the work is done on the caller's. Default: `usualThreads`. */
  workers?: number;
  /** Where they come from. */
  reserve: ThreadReserve;
  /** For writers: what to do with finished packs. Without it the pool only opens blobs. */
  sealing?: { packBytes: number; readBack: boolean; onPack: (pack: BuiltPack) => void };
}

/** Shared memory for a run of chunks that lie one behind the other, lent out. */
export interface Slot {
  index: number;
  bytes: Uint8Array;
  release: () => void;
}

/** A chunk in a slot; bytes. */
export interface SlotChunk {
  slot: Slot;
  offset: number;
  length: number;
}

interface Job {
  resolve: (answer: Extract<Answer, { op: 'done' }>) => void;
  reject: (error: Error) => void;
}

type JobRequest = Extract<Request, { job: number }>;
/** A request before it has its number. */
type Numberless = JobRequest extends infer R ? (R extends JobRequest ? Omit<R, 'job'> : never) : never;

/** What the pool needs of a worker. */
interface Port {
  postMessage(requests: Request[], transfer?: ArrayBuffer[]): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<unknown>;
}

interface Thread {
  worker: Port;
  /** Jobs under way on this thread. */
  load: number;
  /** How many epochs its keys have. */
  epochs: number;
  buffers: SharedArrayBuffer[];
  /** What is asked for in this turn of the event loop, and memory that goes with it. */
  outbox: Request[];
  transfers: ArrayBuffer[];
}

/** Slots a worker: one being worked on, one waiting, the rest being read. */
const slotsPerWorker = 4;
/** A slot's bytes where chunks are smaller: each read, message and answer costs as much as a tenth of a chunk. */
const slotBytes = 4 * MiB;
const packBuffersPerWorker = 2;

export class ChunkPool {
  /** Chunks that a slot holds. */
  readonly runChunks: number;
  readonly #options: ChunkPoolOptions;
  readonly #threadCount: number;
  /** Started with the first job: a session may end without any. */
  #threads: Thread[] = [];
  readonly #slots: SharedArrayBuffer[];
  readonly #free: number[];
  readonly #places: Semaphore;
  readonly #jobs = new Map<number, Job & { thread: Thread }>();
  readonly #sealing: ChunkPoolOptions['sealing'];
  /** The thread that was asked last. */
  #last: Thread | undefined;
  #nextJob = 1;
  #failure: Error | undefined;
  #closed = false;

  constructor(options: ChunkPoolOptions) {
    const count = Math.max(1, options.workers ?? usualThreads());
    this.#options = options;
    this.#threadCount = count;
    this.#sealing = options.sealing;
    this.runChunks = Math.max(1, Math.floor(slotBytes / options.chunkSize));
    this.#slots = Array.from(
      { length: count * slotsPerWorker },
      () => new SharedArrayBuffer(options.chunkSize * this.runChunks),
    );
    this.#free = this.#slots.map((_, index) => index);
    this.#places = new Semaphore(this.#slots.length);
  }

  get slotCount(): number {
    return this.#slots.length;
  }

  get threadCount(): number {
    return this.#threadCount;
  }

  get packBufferCount(): number {
    return this.#threadCount * packBuffersPerWorker;
  }

  /** Ends all work with this error: nothing that waits for a worker waits any longer. */
  fail(error: Error): void {
    this.#failure ??= error;
    for (const job of this.#jobs.values()) job.reject(this.#failure);
    this.#jobs.clear();
  }

  /** Lends a slot; waits until one is free. */
  async slot(): Promise<Slot> {
    const done = await this.#places.acquire();
    if (this.#failure) {
      done();
      throw this.#failure;
    }
    const index = this.#free.pop();
    assert(index !== undefined, 'the semaphore counts the slots');
    const memory = this.#slots[index];
    assert(memory, 'the slot is there');
    const release = () => {
      this.#free.push(index);
      done();
    };
    return { index, bytes: new Uint8Array(memory), release };
  }

  /** The chunk's id, or undefined when it is zeros. */
  async hash({ slot, offset, length }: SlotChunk): Promise<Uint8Array | undefined> {
    return (await this.#run({ op: 'hash', slot: slot.index, offset, length })).id;
  }

  /** Seals the chunk into a pack; the blob's length. The pack reaches `onPack` some time later. */
  async seal({ slot, offset, length }: SlotChunk, id: Uint8Array): Promise<number> {
    const answer = await this.#run({ op: 'seal', slot: slot.index, offset, length, id: Uint8Array.from(id) });
    return answer.length ?? 0;
  }

  /** Opens `blob` (whose memory is given away where it is not shared) into `into`, which must be shared memory. */
  async open(
    blob: Uint8Array,
    wanted: { type: BlobType; id: Uint8Array; into: Uint8Array; where: string },
  ): Promise<void> {
    const id = Uint8Array.from(wanted.id);
    const isShared = blob.buffer instanceof SharedArrayBuffer;
    const own = isShared ? undefined : ownMemory(blob);
    await this.#run({ op: 'open', blob: own ?? blob, ...wanted, id }, own ? [own.buffer] : []);
  }

  /** Looks whether `pack` (whose memory is given away) is what its name says and each blob in it opens; if not, why. */
  async verify(pack: Uint8Array, wanted: { name: string; where: string }): Promise<string | undefined> {
    const own = ownMemory(pack);
    return (await this.#run({ op: 'verify', pack: own, ...wanted }, [own.buffer])).fault;
  }

  /** Has every worker finish its open pack; all packs have reached `onPack` when it resolves. */
  async flush(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => this.#runOn(thread, { op: 'flush' }, [])));
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.fail(new PrimaError('cancelled', 'the worker threads were stopped'));
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()));
  }

  #start({ keys, chunkSize, reserve }: ChunkPoolOptions): Thread {
    const { packBytes = 0, readBack = false } = this.#sealing ?? {};
    const buffers = Array.from(
      { length: this.#sealing ? packBuffersPerWorker : 0 },
      () => pageMemory(packBufferBytes(packBytes, chunkSize)).buffer,
    );
    const setup: WorkerSetup = { keys, slots: this.#slots, packBuffers: buffers, packBytes, readBack };
    const parts = { load: 0, epochs: keys.epochs.length, buffers, outbox: [], transfers: [] };
    if (this.#options.workers === 0) {
      const own: Thread = { ...parts, worker: ownThread(setup, (answer) => this.#receive(own, [answer])) };
      return own;
    }
    const worker = reserve.take();
    worker.postMessage({ setup } satisfies Begin);
    const thread: Thread = { ...parts, worker };
    worker.on('message', (answers: Answer[]) => this.#receive(thread, answers));
    worker.on('error', (error: Error) =>
      this.fail(new PrimaError('internal', `a worker thread failed: ${error.message}`, { cause: error })),
    );
    worker.on('exit', (code) => {
      if (!this.#closed) this.fail(new PrimaError('internal', `a worker thread ended with status ${code}`));
    });
    return thread;
  }

  #run(request: Numberless, transfer: ArrayBuffer[] = []): Promise<Extract<Answer, { op: 'done' }>> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#threads.length === 0) {
      this.#threads = Array.from({ length: this.#threadCount }, () => this.#start(this.#options));
    }
    this.#last = this.#threadFor(request.op);
    return this.#runOn(this.#last, request, transfer);
  }

  /** The idlest; but the chunks of a run, asked for in one go, stay together: one message, one answer. Who reads waits for each. */
  #threadFor(op: JobRequest['op']): Thread {
    const asked = this.#last?.outbox.length ?? 0;
    const isOfRun = op === 'hash' || op === 'seal';
    if (this.#last && isOfRun && asked > 0 && asked < this.runChunks) return this.#last;
    const [first, ...others] = this.#threads;
    assert(first, 'the pool has threads');
    return others.reduce((best, thread) => (thread.load < best.load ? thread : best), first);
  }

  #runOn(
    thread: Thread,
    request: Numberless,
    transfer: ArrayBuffer[],
  ): Promise<Extract<Answer, { op: 'done' }>> {
    if (this.#failure) return Promise.reject(this.#failure);
    const job = this.#nextJob;
    this.#nextJob += 1;
    thread.load += 1;
    if (thread.load === 1) thread.worker.ref();
    this.#tellEpochs(thread);
    return new Promise((resolve, reject) => {
      this.#jobs.set(job, { resolve, reject, thread });
      this.#post(thread, { ...request, job }, transfer);
    });
  }

  /** The keys may have got an epoch since the thread began: what was read afterwards may need it. */
  #tellEpochs(thread: Thread): void {
    const { epochs } = this.#options.keys;
    if (epochs.length === thread.epochs) return;
    thread.epochs = epochs.length;
    this.#post(thread, { op: 'epochs', epochs });
  }

  #post(thread: Thread, request: Request, transfer: ArrayBuffer[] = []): void {
    thread.outbox.push(request);
    thread.transfers.push(...transfer);
    if (thread.outbox.length === 1) queueMicrotask(() => this.#send(thread));
  }

  #send(thread: Thread): void {
    const { outbox, transfers } = thread;
    thread.outbox = [];
    thread.transfers = [];
    if (this.#closed) return;
    try {
      thread.worker.postMessage(outbox, transfers);
    } catch (error) {
      this.fail(toPrimaError(error, 'asking a worker thread')); // nobody else would hear of it
    }
  }

  #receive(thread: Thread, answers: readonly Answer[]): void {
    for (const answer of answers) {
      if (answer.op === 'pack') this.#receivePack(thread, answer);
      else this.#end(thread, answer);
    }
  }

  #end(thread: Thread, message: Exclude<Answer, { op: 'pack' }>): void {
    const job = this.#jobs.get(message.job);
    this.#jobs.delete(message.job);
    thread.load -= 1;
    if (thread.load === 0) thread.worker.unref(); // an idle pool does not keep the process alive
    if (message.op === 'done') job?.resolve(message);
    else job?.reject(new PrimaError(message.code, message.message));
  }

  #receivePack(thread: Thread, message: Extract<Answer, { op: 'pack' }>): void {
    const memory = thread.buffers[message.buffer];
    assert(memory && this.#sealing, 'packs come from workers that seal');
    this.#sealing.onPack({
      name: message.name,
      bytes: new Uint8Array(memory, 0, message.size),
      ids: message.ids,
      places: message.places,
      release: () => {
        this.#post(thread, { op: 'release', buffer: message.buffer });
      },
    });
  }
}

/** Does the work of a thread on the caller's, in the same order: for simulations, which must repeat exactly. */
function ownThread(setup: WorkerSetup, receive: (answer: Answer) => void): Port {
  let isOver = false;
  const later = (task: () => void) => queueMicrotask(() => (isOver ? undefined : task()));
  const work = new ChunkWork(setup, (answer) => later(() => receive(answer)));
  return {
    postMessage: (requests) =>
      later(() => {
        for (const request of requests) work.receive(request);
      }),
    ref: () => undefined,
    unref: () => undefined,
    terminate: async () => {
      isOver = true;
    },
  };
}

/** `bytes`, or a copy: a message takes along all of the memory that a view in it looks at. */
function ownMemory(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer } = bytes;
  if (!(buffer instanceof ArrayBuffer) || bytes.byteLength !== buffer.byteLength)
    return Uint8Array.from(bytes);
  return new Uint8Array(buffer);
}
