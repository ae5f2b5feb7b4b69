/** A store that fails, dawdles and lies as a test wants it to, and writes down how: docs/format/fault-model.md. */
import {
  type Clock,
  type Random,
  StorageError,
  systemClock,
  throwIfAborted,
  toPrimaError,
} from '@prima/base';
import {
  faultsOf,
  kindOfKey,
  type ScheduledFault,
  type StoreCall,
  type StoreFault,
  type StoreOperation,
} from './fault-schedule.ts';
import { filterStore } from './filter-store.ts';
import type { ListOptions, ObjectBody, ObjectInfo, ObjectStore, StoreCallOptions } from './object-store.ts';
import { missingObject, piecesOf } from './store-key.ts';

export interface StoreFaults {
  /** Decides what is left to chance. */
  random: Random;
  /** Share of the calls that meet each fault, of those that can. */
  rates?: Partial<Record<StoreFault, number>>;
  /** Faults at certain calls: those of `FaultyStore.injected` in an earlier run, for example. */
  schedule?: readonly ScheduledFault[];
  /** Decides first; a fault that the call cannot meet is none. */
  faultAt?: (call: StoreCall) => StoreFault | undefined;
  /** Each call waits for up to this long. Default 0. */
  delayMs?: number;
  clock?: Clock;
}

export interface FaultyStore extends ObjectStore {
  /** What was done so far, in order; `writeSchedule` prints it. */
  readonly injected: readonly ScheduledFault[];
  /** From now on there are no new faults. */
  calm(): void;
  /** What was late is seen, and listed, by all. */
  settle(): Promise<void>;
  /** As after a loss of power: what was lost is undone. Settles, too. */
  crash(): Promise<void>;
}

/** `store` with faults. Errors are retryable `io`. Of one that retains, retention has no faults. Closing it closes `store`. */
export function faultyStore(store: ObjectStore, faults: StoreFaults): FaultyStore {
  const faulty = new Faults(store, faults);
  const filtered = filterStore(store, {
    putIfAbsent: (key, body, options) => faulty.put(key, body, options),
    get: (key, range, options) => faulty.get(key, range, options),
    stat: (key, options) => faulty.stat(key, options),
    list: (prefix, options) => faulty.list(prefix, options),
    delete: (key, options) => faulty.delete(key, options),
  });
  return {
    ...filtered,
    injected: faulty.injected,
    calm: () => faulty.calm(),
    settle: () => faulty.settle(),
    crash: () => faulty.crash(),
  };
}

interface Chosen {
  fault: StoreFault | undefined;
  where: number;
}

class Faults {
  readonly injected: ScheduledFault[] = [];
  readonly #store: ObjectStore;
  readonly #faults: StoreFaults;
  readonly #calls = new Map<string, number>();
  /** Created, and not seen (or only not listed) before the store settles. */
  readonly #unseen = new Set<string>();
  readonly #unlisted = new Set<string>();
  /** Deleted for those who ask later: seen until the store settles; or listed as it was. */
  readonly #doomed = new Set<string>();
  readonly #ghosts = new Map<string, ObjectInfo>();
  /** What a crash undoes: made, and deleted with these bytes. */
  readonly #unsafe = new Set<string>();
  readonly #undead = new Map<string, Uint8Array>();
  #isCalm = false;

  constructor(store: ObjectStore, faults: StoreFaults) {
    this.#store = store;
    this.#faults = faults;
  }

  calm(): void {
    this.#isCalm = true;
  }

  async settle(): Promise<void> {
    for (const key of this.#doomed) await this.#store.delete(key);
    for (const late of [this.#unseen, this.#unlisted, this.#doomed, this.#ghosts]) late.clear();
  }

  async crash(): Promise<void> {
    for (const key of this.#unsafe) await this.#store.delete(key);
    for (const [key, bytes] of this.#undead) await this.#store.putIfAbsent(key, bytes);
    this.#unsafe.clear();
    this.#undead.clear();
    await this.settle();
  }

  async put(key: string, body: ObjectBody, options?: StoreCallOptions): Promise<'created' | 'exists'> {
    const { fault, where } = await this.#begin('put', key, options);
    const whole = fault === 'torn' || fault === 'flipped' ? damaged(joined(body), fault, where) : body;
    const answer = await this.#store.putIfAbsent(key, whole, options);
    if (answer === 'created') {
      this.#ghosts.delete(key);
      this.#undead.delete(key);
      if (fault === 'lost') this.#unsafe.add(key);
      if (fault === 'late') this.#unseen.add(key);
      if (fault === 'listed-late') this.#unlisted.add(key);
    }
    if (fault === 'lost-answer') throw lostAnswer('put', key);
    return answer;
  }

  async get(key: string, range: Parameters<ObjectStore['get']>[1], options?: StoreCallOptions) {
    const { fault, where } = await this.#begin('get', key, options);
    if (fault === 'missing' || this.#unseen.has(key)) throw missingObject(key, this.#store.url);
    if (fault === 'swapped') return await this.#store.get(await this.#twinOf(key, where), range, options);
    const bytes = await this.#store.get(key, range, options);
    return fault === 'torn' || fault === 'flipped' ? damaged(bytes, fault, where) : bytes;
  }

  async stat(key: string, options?: StoreCallOptions): Promise<ObjectInfo | undefined> {
    const { fault } = await this.#begin('stat', key, options);
    if (fault === 'missing' || this.#unseen.has(key)) return undefined;
    return await this.#store.stat(key, options);
  }

  async *list(prefix: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
    const { fault, where } = await this.#begin('list', prefix, options, ['fail']);
    const infos = fault === 'missing' ? [] : await this.#listed(prefix, options);
    const cut = fault === 'fail' || fault === 'listed-short' ? where % Math.max(1, infos.length) : Infinity;
    for (const [index, info] of infos.entries()) {
      if (index >= cut) break;
      yield info;
    }
    if (fault === 'fail') throw notDone('list', prefix);
  }

  async delete(key: string, options?: StoreCallOptions): Promise<void> {
    const { fault } = await this.#begin('delete', key, options);
    const found = await this.#store.stat(key);
    if (found && fault === 'late') {
      this.#doomed.add(key);
      return;
    }
    if (found && fault === 'lost' && !this.#unsafe.has(key)) {
      this.#undead.set(key, await this.#store.get(key));
    }
    await this.#store.delete(key, options);
    if (found && fault === 'listed-late') this.#ghosts.set(key, found);
    for (const late of [this.#unseen, this.#unlisted, this.#unsafe]) late.delete(key);
    if (fault === 'lost-answer') throw lostAnswer('delete', key);
  }

  /** Chooses the fault of a call and waits as slow stores do. Raises `fail`, but where the caller does. */
  async #begin(
    operation: StoreOperation,
    key: string,
    options: StoreCallOptions = {},
    own: readonly StoreFault[] = [],
  ): Promise<Chosen> {
    const chosen = this.#choose(operation, key);
    await this.#delay(`a faulty store's ${operation} of ${key}`, options.signal);
    if (chosen.fault === 'fail' && !own.includes('fail')) throw notDone(operation, key);
    return chosen;
  }

  #choose(operation: StoreOperation, key: string): Chosen {
    const { random, schedule = [], rates = {}, faultAt } = this.#faults;
    const kind = kindOfKey(key);
    const nth = this.#calls.get(`${operation} ${kind}`) ?? 0;
    this.#calls.set(`${operation} ${kind}`, nth + 1);
    const possible = faultsOf[operation];
    const byChance = possible.filter((fault) => random.uint32() / 2 ** 32 < (rates[fault] ?? 0));
    const where = random.uint32();
    if (this.#isCalm) return { fault: undefined, where };
    const planned = schedule.find(
      (entry) => entry.operation === operation && entry.kind === kind && entry.nth === nth,
    );
    const wanted = faultAt?.({ operation, key, kind, nth }) ?? planned?.fault ?? byChance[0];
    const fault = possible.find((name) => name === wanted);
    const chosen = { fault, where: planned?.where ?? where };
    if (fault) this.injected.push({ operation, kind, nth, fault, where: chosen.where });
    return chosen;
  }

  async #delay(doing: string, signal: AbortSignal | undefined): Promise<void> {
    const { random, delayMs = 0, clock = systemClock } = this.#faults;
    throwIfAborted(signal, doing);
    if (delayMs === 0) return;
    await clock.sleep((random.uint32() / 2 ** 32) * delayMs, signal).catch((error: unknown) => {
      throw toPrimaError(error, doing);
    });
  }

  async #listed(prefix: string, options?: ListOptions): Promise<ObjectInfo[]> {
    const infos = await Array.fromAsync(this.#store.list(prefix, options));
    const shown = infos.filter(({ key }) => !this.#unseen.has(key) && !this.#unlisted.has(key));
    const ghosts = [...this.#ghosts.values()].filter(({ key }) => key.startsWith(prefix));
    return [...shown, ...ghosts].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Another object of the same kind, or the key itself where there is none. */
  async #twinOf(key: string, where: number): Promise<string> {
    const kind = kindOfKey(key);
    const twins: string[] = [];
    for await (const { key: other } of this.#store.list(key.slice(0, key.indexOf('/') + 1))) {
      if (other !== key && kindOfKey(other) === kind) twins.push(other);
    }
    return twins[where % Math.max(1, twins.length)] ?? key;
  }
}

function damaged(bytes: Uint8Array, fault: 'torn' | 'flipped', where: number): Uint8Array {
  if (bytes.length === 0) return bytes;
  if (fault === 'torn') return bytes.slice(0, where % bytes.length);
  const copy = Uint8Array.from(bytes);
  const bit = where % (bytes.length * 8);
  copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

function joined(body: ObjectBody): Uint8Array {
  return Buffer.concat(piecesOf(body));
}

function notDone(operation: StoreOperation, key: string): StorageError {
  return injected(`${operation} of ${key} was not done`);
}

function lostAnswer(operation: StoreOperation, key: string): StorageError {
  return injected(`${operation} of ${key} was done, but its answer is lost`);
}

function injected(what: string): StorageError {
  return new StorageError('io', `injected fault: ${what}`, { retryable: true });
}
