/**
 * What a store may do to us, one name a fault (docs/format/fault-model.md), and faults written down so that they can be
 * repeated: a line each, `put packs/data/~/~ 0 torn 1234`: operation, kind of key, the how manieth such call (from 0),
 * fault, and a number that says where.
 */
import { FormatError } from '@prima/base';

export type StoreOperation = 'put' | 'get' | 'stat' | 'list' | 'delete';

/**
 * - `fail`: raised before anything is done; in a list somewhere on the way.
 * - `lost-answer`: done, and raised then, as when a connection breaks after the request.
 * - `lost`: answered as done, and undone by the next crash.
 * - `late`: answered as done, and seen by nobody before the store settles.
 * - `torn`: the bytes are cut, as stored (put) or as read (get).
 * - `flipped`: one bit is wrong, as stored or as read.
 * - `missing`: said not to be there; of a list, that there is nothing.
 * - `swapped`: the bytes of another object of that kind.
 * - `listed-late`: done, but lists show it only when the store settles.
 * - `listed-short`: the list ends early, without an error.
 */
export const storeFaults = [
  'fail',
  'lost-answer',
  'lost',
  'late',
  'torn',
  'flipped',
  'missing',
  'swapped',
  'listed-late',
  'listed-short',
] as const;

export type StoreFault = (typeof storeFaults)[number];

/** Which faults a call can meet. */
export const faultsOf: Record<StoreOperation, readonly StoreFault[]> = {
  put: ['fail', 'lost-answer', 'lost', 'late', 'torn', 'flipped', 'listed-late'],
  get: ['fail', 'torn', 'flipped', 'missing', 'swapped'],
  stat: ['fail', 'missing'],
  list: ['fail', 'missing', 'listed-short'],
  delete: ['fail', 'lost-answer', 'lost', 'late', 'listed-late'],
};

/** One call of a store; `key` is the prefix for a list. */
export interface StoreCall {
  operation: StoreOperation;
  key: string;
  /** `key` with what differs from run to run as `~`: see `kindOfKey`. */
  kind: string;
  /** 0 for the first call of this operation on this kind, 1 for the second … */
  nth: number;
}

/** A fault at a call; `where` is a number below 2^32 that picks the byte, the bit, the place or the other object. */
export interface ScheduledFault extends Omit<StoreCall, 'key'> {
  fault: StoreFault;
  where: number;
}

/** `packs/data/ab/abcd…` → `packs/data/~/~`, `log/0000000001` → `log/~`; the list of everything is `.`. */
export function kindOfKey(key: string): string {
  if (key === '') return '.';
  const segments = key.split('/');
  return segments
    .map((segment) => (/^[0-9a-f]{2}$/.test(segment) ? '~' : segment.replaceAll(/[0-9a-f]{8,}|\d+/g, '~')))
    .join('/');
}

export function writeSchedule(faults: readonly ScheduledFault[]): string {
  return faults
    .map(({ operation, kind, nth, fault, where }) => `${operation} ${kind} ${nth} ${fault} ${where}\n`)
    .join('');
}

/** Raises `format` at a line that is none. */
export function parseSchedule(text: string): ScheduledFault[] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, verb, kind = '', nth, name, where] = /^(\w+) (\S+) (\d+) (\S+) (\d+)$/.exec(line.trim()) ?? [];
      const operation = (Object.keys(faultsOf) as StoreOperation[]).find((known) => known === verb);
      const fault = operation && faultsOf[operation].find((known) => known === name);
      if (!operation || !fault) throw new FormatError(`"${line}" is no fault of a store`);
      return { operation, kind, nth: Number(nth), fault, where: Number(where) };
    });
}
