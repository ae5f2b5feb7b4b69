/** A store that fails, dawdles and lies as a test wants it to. */
import {
  type Clock,
  type Random,
  StorageError,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import { filterStore } from './filter-store.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';

/** One call of a store; `key` is the prefix for a list. */
export interface StoreCall {
  operation: 'put' | 'get' | 'stat' | 'list' | 'delete';
  key: string;
  /** 0 for the first call of the store, 1 for the second … */
  index: number;
}

/**
 * `fail` raises before anything is done; `lost-answer` does it and raises then, as a connection that
 * breaks after the request; `corrupt` flips a bit of what `get` gives; `truncate` cuts its last byte;
 * `hide` says of an object that is there that it is not (stat, get), or leaves it out of a list.
 */
export type StoreFault = 'fail' | 'lost-answer' | 'corrupt' | 'truncate' | 'hide';

export interface StoreFaults {
  /** Decides what `errorRate` and `delayMs` leave to chance. */
  random: Random;
  /** Share of the calls that fail, half of them after they were done (`lost-answer`). Default 0. */
  errorRate?: number;
  /** Each call waits for up to this long. Default 0. */
  delayMs?: number;
  /** What happens to a call whatever the chance. For a list it is asked again for each object, by its key. */
  faultAt?: (call: StoreCall) => StoreFault | undefined;
  clock?: Clock;
}

/** `store` with faults. The errors are retryable `io`. Closing it closes `store` and never fails. */
export function faultyStore(store: ObjectStore, faults: StoreFaults): ObjectStore {
  const injector = new FaultInjector(faults);
  return filterStore(store, {
    putIfAbsent: (key, body, options) =>
      injector.call('put', key, () => store.putIfAbsent(key, body, options), options?.signal),
    stat: async (key, options) => {
      const { value, fault } = await injector.answer(
        'stat',
        key,
        () => store.stat(key, options),
        options?.signal,
      );
      return fault === 'hide' ? undefined : value;
    },
    get: async (key, range, options) => {
      const read = () => store.get(key, range, options);
      const { value, fault } = await injector.answer('get', key, read, options?.signal);
      if (fault === 'hide') {
        throw new StorageError('not-found', `injected fault: there is no ${key}`, { details: { key } });
      }
      if (fault === 'truncate') return value.subarray(0, Math.max(0, value.length - 1));
      return fault === 'corrupt' ? injector.flipBit(value) : value;
    },
    list: async function* (prefix, options) {
      await injector.call('list', prefix, async () => undefined, options?.signal);
      for await (const info of store.list(prefix, options)) if (!injector.hides(info)) yield info;
    },
    delete: (key, options) => injector.call('delete', key, () => store.delete(key, options), options?.signal),
  });
}

class FaultInjector {
  readonly #faults: StoreFaults;
  #calls = 0;

  constructor(faults: StoreFaults) {
    this.#faults = faults;
  }

  async call<T>(
    operation: StoreCall['operation'],
    key: string,
    task: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return (await this.answer(operation, key, task, signal)).value;
  }

  /** Runs `task` with faults; the fault that is left for the caller to do comes with the value. */
  async answer<T>(
    operation: StoreCall['operation'],
    key: string,
    task: () => Promise<T>,
    signal?: AbortSignal,
  ): Promise<{ value: T; fault: StoreFault | undefined }> {
    const fault = this.#choose(operation, key);
    await this.#delay(`a faulty store's ${operation} of ${key}`, signal);
    if (fault === 'fail') throw injected(`${operation} of ${key} was not done`);
    const value = await task();
    if (fault === 'lost-answer') throw injected(`${operation} of ${key} was done, but its answer is lost`);
    return { value, fault };
  }

  #choose(operation: StoreCall['operation'], key: string): StoreFault | undefined {
    const { random, errorRate = 0, faultAt } = this.#faults;
    const index = this.#calls;
    this.#calls += 1;
    const byChance = random.uint32() / 2 ** 32 < errorRate ? pick(random) : undefined;
    return faultAt?.({ operation, key, index }) ?? byChance;
  }

  async #delay(doing: string, signal: AbortSignal | undefined): Promise<void> {
    const { random, delayMs = 0, clock = systemClock } = this.#faults;
    throwIfAborted(signal, doing);
    if (delayMs === 0) return;
    await clock.sleep((random.uint32() / 2 ** 32) * delayMs, signal).catch((error: unknown) => {
      throw toPrimaError(error, doing);
    });
  }

  hides(info: ObjectInfo): boolean {
    const { faultAt } = this.#faults;
    return faultAt?.({ operation: 'list', key: info.key, index: this.#calls }) === 'hide';
  }

  flipBit(bytes: Uint8Array): Uint8Array {
    const damaged = Uint8Array.from(bytes);
    const at = this.#faults.random.below(Math.max(1, damaged.length));
    const byte = damaged[at];
    if (byte !== undefined) damaged[at] = byte ^ (1 << this.#faults.random.below(8));
    return damaged;
  }
}

function pick(random: Random): StoreFault {
  return random.below(2) === 0 ? 'fail' : 'lost-answer';
}

function injected(what: string): StorageError {
  return new StorageError('io', `injected fault: ${what}`, { retryable: true });
}
