/**
 * One option of QEMU's command line and its value: `key=value,key=value`, where `,,` is a comma and the first key may be
 * left out, or JSON. It keeps account of what was read, so that the rest can be listed.
 */
import { FormatError } from '@prima/base';
import { parseBelow, parseWhole } from '../machine/numbers.ts';

export class QemuOption {
  /** Without the dash: `device`. */
  readonly name: string;
  /** The value as it was written; undefined for options without one. */
  readonly text: string | undefined;
  readonly #values: ReadonlyMap<string, string>;
  readonly #seen = new Set<string>();
  #isSeen = false;

  /** `firstKey` is that of a value without one; undefined: the value is one text. */
  constructor(name: string, text: string | undefined, firstKey: string | undefined) {
    this.name = name;
    this.text = text;
    this.#values =
      text === undefined || firstKey === undefined ? new Map() : parseValues(name, text, firstKey);
  }

  /** Undefined where it is not said. */
  get(key: string): string | undefined {
    this.settle(key);
    return this.#values.get(key);
  }

  /** Whether `key` is said to be `value`, without counting it as read. */
  is(key: string, value: string): boolean {
    return this.#values.get(key) === value;
  }

  isOn(key: string): boolean {
    return ['on', 'yes', 'true', 'y'].includes(this.get(key)?.toLowerCase() ?? '');
  }

  whole(key: string): number | undefined {
    return parseWhole(this.get(key), `${this.where}, ${key}`);
  }

  below(key: string, limit: number): number | undefined {
    return parseBelow(this.get(key), limit, `${this.where}, ${key}`);
  }

  /** Counts keys as read: they say nothing; without keys, all. */
  settle(...keys: readonly string[]): void {
    this.#isSeen = true;
    for (const key of keys.length === 0 ? this.#values.keys() : keys) this.#seen.add(key);
  }

  /** Takes back: what the option says has no place. */
  unread(): void {
    this.#isSeen = false;
  }

  unreadKey(key: string): void {
    this.#seen.delete(key);
  }

  get where(): string {
    return `-${this.name}${this.text === undefined ? '' : ` ${this.text.slice(0, 100)}`}`;
  }

  /** What was not read: the whole option, or keys of it. */
  unreadParts(): { where: string; what: string }[] {
    if (!this.#isSeen) return [{ where: this.where, what: this.text ?? this.name }];
    return [...this.#values]
      .filter(([key]) => !this.#seen.has(key))
      .map(([key, value]) => ({ where: `${this.where}, ${key}`, what: value }));
  }
}

/** Keys are few; a value of some thousand of them is noise. */
const limitKeys = 1000;

function parseValues(name: string, text: string, firstKey: string): Map<string, string> {
  if (text.startsWith('{')) return parseJson(name, text);
  const values = new Map<string, string>();
  const parts = (text.match(/(?:[^,]|,,)+/g) ?? []).map((part) => part.replaceAll(',,', ','));
  for (const [index, part] of parts.entries()) {
    const equals = part.indexOf('=');
    if (index === 0 && firstKey !== '' && equals < 0) values.set(firstKey, part);
    else if (equals >= 0) values.set(part.slice(0, equals), part.slice(equals + 1));
    else if (part.startsWith('no') && part.length > 2) values.set(part.slice(2), 'off');
    else values.set(part, 'on');
    if (values.size > limitKeys) throw new FormatError(`-${name}: more than ${limitKeys} keys`);
  }
  return values;
}

function parseJson(name: string, text: string): Map<string, string> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`-${name} ${text.slice(0, 80)}: this is no JSON`, { cause: error });
  }
  const values = new Map<string, string>();
  flatten(value, '', values, 0);
  return values;
}

/** `{"file":{"driver":"x"}}` → `file.driver`, as QEMU's dotted keys. */
function flatten(value: unknown, key: string, into: Map<string, string>, depth: number): void {
  if (into.size > limitKeys || depth > 32)
    throw new FormatError('JSON of a QEMU option is too large or too deep');
  if (typeof value === 'object' && value !== null) {
    for (const [name, item] of Object.entries(value)) {
      flatten(item, key === '' ? name : `${key}.${name}`, into, depth + 1);
    }
  } else if (typeof value === 'boolean') into.set(key, value ? 'on' : 'off');
  else if (typeof value === 'string' || typeof value === 'number') into.set(key, String(value));
}

/** `key=value,…`; what is undefined is left out, commas are doubled. */
export function writeValues(values: Readonly<Record<string, string | number | undefined>>): string {
  return Object.entries(values)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${escapeComma(String(value))}`]))
    .join(',');
}

export function escapeComma(text: string): string {
  return text.replaceAll(',', ',,');
}
