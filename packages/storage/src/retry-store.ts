/**
 * A store that tries again. Only errors that say `retryable` are tried again; each try has a deadline, all tries of a
 * call together have one, and between them it waits for a random time that doubles at most ("full jitter"), so that
 * many clients of one troubled server do not come back at once.
 */
import {
  assert,
  type Clock,
  formatDuration,
  type Logger,
  PrimaError,
  type Random,
  silentLogger,
  systemClock,
  systemRandom,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { filterStore } from './filter-store.ts';
import { withIdleLimit } from './idle-limit.ts';
import type { ListOptions, ObjectBody, ObjectInfo, ObjectStore, StoreCallOptions } from './object-store.ts';
import { bodyLength, piecesOf } from './store-key.ts';

export interface RetryOptions {
  /** Tries of one call, the first included. Default 12; four while the store has never answered. */
  attempts?: number;
  /** The longest wait before the second try, milliseconds; doubles from try to try. Default 250. */
  firstDelayMs?: number;
  /** No wait is longer. Default 20 s. */
  longestDelayMs?: number;
  /** One try is given up after this long without a sign of life (see `slowestBytesPerSecond`). Default 60 s. */
  attemptMs?: number;
  /** What stores that do not pace are given besides for the bytes of a body. Default 64 KiB/s. */
  slowestBytesPerSecond?: number;
  /** No try begins later than this after the first. Default 10 minutes. */
  totalMs?: number;
  clock?: Clock;
  random?: Random;
  /** Told of each try that failed and is repeated, and why. */
  logger?: Logger;
}

type Settings = Required<RetryOptions>;

/** What a body may be of which the size is not known beforehand: no pack is larger. */
const largestBody = 96 * 1024 * 1024;

/** `store`, tried again where that may help. Closing it closes `store`. */
export function retryStore(store: ObjectStore, options: RetryOptions = {}): ObjectStore {
  const retrier = new Retrier(store, {
    attempts: options.attempts ?? 12,
    firstDelayMs: options.firstDelayMs ?? 250,
    longestDelayMs: options.longestDelayMs ?? 20_000,
    attemptMs: options.attemptMs ?? 60_000,
    slowestBytesPerSecond: options.slowestBytesPerSecond ?? 64 * 1024,
    totalMs: options.totalMs ?? 600_000,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    logger: options.logger ?? silentLogger,
  });
  const plain = (doing: string, given?: StoreCallOptions) => ({ doing, bytes: 0, options: given });
  return filterStore(store, {
    putIfAbsent: (key, body, given) => putAgain({ store, retrier }, { key, body }, given),
    get: (key, range, given) =>
      retrier.run(
        {
          doing: `reading ${key} in ${store.url}`,
          bytes: Math.min(range?.length ?? largestBody, largestBody),
          options: given,
        },
        (inner) => store.get(key, range, inner),
      ),
    stat: (key, given) =>
      retrier.run(plain(`looking for ${key} in ${store.url}`, given), (inner) => store.stat(key, inner)),
    list: (prefix, given) => listOn({ store, retrier }, prefix, given),
    delete: (key, given) =>
      retrier.run(plain(`deleting ${key} in ${store.url}`, given), (inner) => store.delete(key, inner)),
    retain: (key, until, given) =>
      retrier.run(plain(`retaining ${key} in ${store.url}`, given), async (inner) =>
        store.retention?.retain(key, until, inner),
      ),
    retainedUntil: (key, given) =>
      retrier.run(plain(`asking until when ${key} in ${store.url} is retained`, given), async (inner) =>
        store.retention?.retainedUntil(key, inner),
      ),
  });
}

interface Parts {
  store: ObjectStore;
  retrier: Retrier;
}

/**
 * The try before may have been done although its answer was lost: then the object that is there is ours. Objects of
 * two writers are never equal by chance, and where they are equal (a pack, named by its content) it does not matter.
 */
async function putAgain(
  { store, retrier }: Parts,
  { key, body }: { key: string; body: ObjectBody },
  options: StoreCallOptions = {},
): Promise<'created' | 'exists'> {
  let tries = 0;
  const call = { doing: `storing ${key} in ${store.url}`, bytes: bodyLength(body), options };
  const answer = await retrier.run(call, (inner) => {
    tries += 1;
    return store.putIfAbsent(key, body, inner);
  });
  if (answer === 'created' || tries === 1) return answer;
  const reading = { doing: `reading back ${key} in ${store.url}`, bytes: call.bytes, options };
  const there = await retrier.run(reading, async (inner) => {
    const found = await store.stat(key, inner);
    return found?.size === call.bytes
      ? await store.get(key, undefined, { ...inner, fresh: true })
      : undefined;
  });
  return there && isSame(there, body) ? 'created' : 'exists';
}

function isSame(stored: Uint8Array, body: ObjectBody): boolean {
  let at = 0;
  for (const piece of piecesOf(body)) {
    if (Buffer.compare(stored.subarray(at, at + piece.length), piece) !== 0) return false;
    at += piece.length;
  }
  return at === stored.length;
}

/** Goes on after the last key that was given; each key is a success, and the tries begin anew after it. */
async function* listOn(
  { store, retrier }: Parts,
  prefix: string,
  options: ListOptions = {},
): AsyncGenerator<ObjectInfo> {
  const doing = `listing ${prefix === '' ? 'everything' : prefix} in ${store.url}`;
  let last: string | undefined;
  let listing = beginList(store, prefix, options);
  const leave = () => listing.leave().catch((error: unknown) => retrier.ignore(doing, error));
  const proceed = async (): Promise<IteratorResult<ObjectInfo, unknown>> => {
    for (;;) {
      const step = await listing.next();
      if (step.done === true || last === undefined || step.value.key > last) return step;
    }
  };
  try {
    for (;;) {
      let tries = 0;
      const step = await retrier.run({ doing, bytes: 0, options }, async () => {
        tries += 1;
        if (tries > 1) {
          void leave(); // one that does not answer would not answer to this either, so nobody waits for it
          listing = beginList(store, prefix, options);
        }
        return await proceed();
      });
      if (step.done === true) return;
      last = step.value.key;
      yield step.value;
    }
  } finally {
    void leave();
  }
}

/** A listing that can be left while it does not answer. */
function beginList(store: ObjectStore, prefix: string, options: ListOptions) {
  const own = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, own.signal]) : own.signal;
  const objects: AsyncIterable<ObjectInfo, unknown> = store.list(prefix, { ...options, signal });
  const iterator = objects[Symbol.asyncIterator]();
  return {
    next: () => iterator.next(),
    leave: async () => {
      const left = iterator.return?.();
      own.abort();
      await left;
    },
  };
}

interface RetriedCall {
  doing: string;
  /** Length of the body that is sent or taken, at most. */
  bytes: number;
  options: StoreCallOptions | undefined;
}

/** Tries of a call while the store has never answered: it is more likely to be misnamed than troubled. */
const attemptsBeforeFirstAnswer = 4;

class Retrier {
  readonly #paces: boolean;
  readonly #settings: Settings;
  #hasAnswered = false;

  constructor(store: ObjectStore, settings: Settings) {
    assert(settings.attempts >= 1, `${settings.attempts} attempts are one or more`);
    this.#paces = store.paces === true;
    this.#settings = settings;
  }

  /** Runs `task` until it succeeds, fails for good, or tries or time are used up; raises the last failure then. */
  async run<T>(call: RetriedCall, task: (options: StoreCallOptions) => Promise<T>): Promise<T> {
    const { totalMs, clock } = this.#settings;
    const began = clock.monotonic();
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#once(call, task);
        this.#hasAnswered = true;
        return answer;
      } catch (error) {
        throwIfAborted(call.options?.signal, call.doing);
        if (!(error instanceof PrimaError) || !error.retryable) throw error;
        const delayMs = this.#delay(attempt);
        const isLate = clock.monotonic() - began + delayMs >= totalMs;
        if (attempt >= this.#attempts || isLate) throw error;
        await this.#wait(call, { attempt, delayMs, error });
      }
    }
  }

  ignore(doing: string, error: unknown): void {
    this.#settings.logger.debug(toPrimaError(error, doing).message);
  }

  get #attempts(): number {
    const { attempts } = this.#settings;
    return this.#hasAnswered ? attempts : Math.min(attempts, attemptsBeforeFirstAnswer);
  }

  #once<T>(call: RetriedCall, task: (options: StoreCallOptions) => Promise<T>): Promise<T> {
    const { attemptMs, slowestBytesPerSecond, clock } = this.#settings;
    const limitMs = attemptMs + (this.#paces ? 0 : (call.bytes * 1000) / slowestBytesPerSecond);
    const { signal, pace = async () => undefined } = call.options ?? {};
    return withIdleLimit({ doing: call.doing, limitMs, clock, signal }, async (watch) => {
      const paced = this.#paces && { pace: (bytes: number) => watch.pause(() => pace(bytes)) };
      return await task({ ...call.options, signal: watch.signal, ...paced });
    });
  }

  /** Full jitter: anything from nothing to the bound. */
  #delay(attempt: number): number {
    const { firstDelayMs, longestDelayMs, random } = this.#settings;
    const bound = Math.min(longestDelayMs, firstDelayMs * 2 ** (attempt - 1));
    return (random.uint32() / 2 ** 32) * bound;
  }

  async #wait(
    { doing, options }: RetriedCall,
    { attempt, delayMs, error }: { attempt: number; delayMs: number; error: PrimaError },
  ): Promise<void> {
    const { clock, logger } = this.#settings;
    const next = `try ${attempt + 1} of ${this.#attempts} in ${formatDuration(delayMs)}`;
    const reason = error.message.startsWith(doing) ? error.message : `${doing}: ${error.message}`;
    logger.info(`${reason}; ${next}`, { code: error.code, attempt, delayMs });
    await clock.sleep(delayMs, options?.signal).catch((reason: unknown) => {
      throw toPrimaError(reason, doing);
    });
  }
}
