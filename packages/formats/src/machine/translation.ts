/** Translating between descriptions and dialects: what comes out, and a list of everything that does not. */
import { toXmlText } from '@prima/xml';
import type { MachineDescription } from './description.ts';

export interface NotCarried {
  /** For people: "the disk's serial number \"WD-1\"". */
  what: string;
  /**
   * Reading: the place in the source, a key, a path of elements, an option. Writing: the member of the description,
   * `disks[0].serial`; what is read back from the result may differ in that member and in no other.
   */
  where: string;
  why: string;
}

export interface Translation<T> {
  result: T;
  notCarried: NotCarried[];
}

/** The list in the making. */
export class Losses {
  readonly list: NotCarried[] = [];

  /** `value` is shown, shortened; nothing is listed where it is undefined. */
  add(where: string, value: unknown, why: string): void {
    if (value === undefined) return;
    this.list.push({ where, what: shown(value), why });
  }
}

function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

/** `object` without the members that are undefined: an absent member and an undefined one are the same. */
export function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

/** Equal in all members, absent and undefined alike. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  return Array.isArray(a) === Array.isArray(b) && [...keys].every((key) => sameValue(left[key], right[key]));
}

/** The description with every text as XML can hold it; what had to be changed is listed. */
export function withXmlText(description: MachineDescription, losses: Losses): MachineDescription {
  const why = 'XML has no way to write control characters; U+FFFD stands for them';
  return mapText(description, '', (text, where) => {
    const clean = toXmlText(text);
    if (clean !== text) losses.add(where, text, why);
    return clean;
  }) as MachineDescription;
}

function mapText(value: unknown, where: string, change: (text: string, where: string) => string): unknown {
  if (typeof value === 'string') return change(value, where);
  if (Array.isArray(value)) return value.map((item, index) => mapText(item, `${where}[${index}]`, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      mapText(item, where === '' ? key : `${where}.${key}`, change),
    ]),
  );
}
